#include "kernels/counted_kernels.hpp"

#include "dispatch/cpu_features.hpp"
#include "dispatch/isa_table.hpp"
#include "kernels/isa_list.hpp"

#include <vector>

namespace rapt::kernels {

#define RAPT_DECLARE(isa)          \
  namespace isa {                  \
  extern const KernelSet kKernels; \
  }
RAPT_COMPILED_ISAS(RAPT_DECLARE)

}  // namespace rapt::kernels

namespace rapt::test {
namespace {

using kernels::KernelSet;

template <Isa kIsa>
constexpr const KernelSet* kReal = nullptr;
#define RAPT_REAL(isa) \
  template <>          \
  constexpr const KernelSet* kReal<Isa::isa> = &kernels::isa::kKernels;
RAPT_COMPILED_ISAS(RAPT_REAL)

/// Counts the call, then forwards it.
template <Isa kIsa, std::size_t kIndex, auto kMember>
struct Counted;
template <Isa kIsa, std::size_t kIndex, class Result, class... Args,
          Result (*KernelSet::*kMember)(Args...)>
struct Counted<kIsa, kIndex, kMember> {
  static Result call(Args... args) {
    kernel_counts(kIsa)[kIndex].fetch_add(1, std::memory_order_relaxed);
    return (kReal<kIsa>->*kMember)(args...);
  }
};

template <Isa kIsa, std::size_t kIndex, auto kMember>
void replace(KernelSet& set) {
  set.*kMember = Counted<kIsa, kIndex, kMember>::call;
}

template <Isa kIsa>
KernelSet make_counted() {
  using K = KernelSet;
  KernelSet set = *kReal<kIsa>;
  // In the order of kKernelNames.
  replace<kIsa, 0, &K::stream_rows>(set);
  replace<kIsa, 1, &K::attend_scratch>(set);
  replace<kIsa, 2, &K::attend>(set);
  replace<kIsa, 3, &K::fold>(set);
  replace<kIsa, 4, &K::sum_weights_scratch>(set);
  replace<kIsa, 5, &K::sum_weights>(set);
  replace<kIsa, 6, &K::merge_states>(set);
  replace<kIsa, 7, &K::merge_results>(set);
  replace<kIsa, 8, &K::linear_scratch>(set);
  replace<kIsa, 9, &K::linear>(set);
  replace<kIsa, 10, &K::pack_keys>(set);
  replace<kIsa, 11, &K::pack_values>(set);
  replace<kIsa, 12, &K::pack_weight>(set);
  replace<kIsa, 13, &K::normalize>(set);
  replace<kIsa, 14, &K::rotate>(set);
  replace<kIsa, 15, &K::layer_norm>(set);
  replace<kIsa, 16, &K::softmax_rows>(set);
  return set;
}

template <Isa kIsa>
const KernelSet* counted_set() {
  static const KernelSet set = make_counted<kIsa>();
  return &set;
}

}  // namespace

KernelCounts& kernel_counts(Isa isa) {
#define RAPT_ONE(isa) +1
  static std::array<KernelCounts, RAPT_KNOWN_ISAS(RAPT_ONE)> counts{};
  return counts.at(static_cast<std::size_t>(isa));
}

}  // namespace rapt::test

namespace rapt::dispatch {

// This definition replaces that of the library's archive, whose object is then not linked.
std::span<const IsaRow> isa_table() noexcept {
#define RAPT_COUNTED(isa) {Isa::isa, test::counted_set<Isa::isa>(), cpu_has_##isa},
  static const std::vector<IsaRow> table{RAPT_COMPILED_ISAS(RAPT_COUNTED)};
  return table;
}

}  // namespace rapt::dispatch
