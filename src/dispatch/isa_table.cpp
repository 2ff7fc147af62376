// The rows: each compiled ISA with its kernels and its predicate.
#include "dispatch/isa_table.hpp"

#include "dispatch/cpu_features.hpp"

namespace rapt::kernels {

extern const KernelSet kScalarKernels;
extern const KernelSet kAvx2Kernels;
extern const KernelSet kAvx512Kernels;
extern const KernelSet kNeonKernels;

}  // namespace rapt::kernels

namespace rapt::dispatch {
namespace {

bool always() noexcept { return true; }

// A row's predicate and its compiler flags in src/meson.build state the same fact.
constexpr IsaRow kTable[] = {
#if defined(RAPT_COMPILED_AVX512)
    {Isa::avx512, &kernels::kAvx512Kernels, cpu_has_avx512},
#endif
#if defined(RAPT_COMPILED_AVX2)
    {Isa::avx2, &kernels::kAvx2Kernels, cpu_has_avx2},
#endif
#if defined(RAPT_COMPILED_NEON)
    {Isa::neon, &kernels::kNeonKernels, cpu_has_neon},
#endif
    {Isa::scalar, &kernels::kScalarKernels, always},
};

}  // namespace

std::span<const IsaRow> isa_table() noexcept { return kTable; }

}  // namespace rapt::dispatch
