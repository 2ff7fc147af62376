// The rows: each compiled ISA with its kernels and its predicate.
#include "dispatch/isa_table.hpp"

#include "dispatch/cpu_features.hpp"
#include "kernels/isa_list.hpp"

namespace rapt::kernels {

#define RAPT_DECLARE(isa)          \
  namespace isa {                  \
  extern const KernelSet kKernels; \
  }
RAPT_COMPILED_ISAS(RAPT_DECLARE)

}  // namespace rapt::kernels

namespace rapt::dispatch {
namespace {

#define RAPT_ROW(isa) {Isa::isa, &kernels::isa::kKernels, cpu_has_##isa},
constexpr IsaRow kTable[] = {RAPT_COMPILED_ISAS(RAPT_ROW)};

}  // namespace

std::span<const IsaRow> isa_table() noexcept { return kTable; }

}  // namespace rapt::dispatch
