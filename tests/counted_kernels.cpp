#include "counted_kernels.hpp"

#include <vector>

#include "dispatch/cpu_features.hpp"
#include "dispatch/isa_table.hpp"

namespace rapt::kernels {

extern const KernelSet kScalarKernels;
extern const KernelSet kAvx2Kernels;
extern const KernelSet kAvx512Kernels;
extern const KernelSet kNeonKernels;

}  // namespace rapt::kernels

namespace rapt::test {
namespace {

using kernels::KernelSet;

template <Isa kIsa>
constexpr const KernelSet* kReal = nullptr;
template <>
constexpr const KernelSet* kReal<Isa::scalar> = &kernels::kScalarKernels;
#if defined(RAPT_COMPILED_AVX2)
template <>
constexpr const KernelSet* kReal<Isa::avx2> = &kernels::kAvx2Kernels;
#endif
#if defined(RAPT_COMPILED_AVX512)
template <>
constexpr const KernelSet* kReal<Isa::avx512> = &kernels::kAvx512Kernels;
#endif
#if defined(RAPT_COMPILED_NEON)
template <>
constexpr const KernelSet* kReal<Isa::neon> = &kernels::kNeonKernels;
#endif

/// Counts the call and makes it.
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

template <Isa kIsa, auto... kMembers>
const KernelSet* counted() {
  static_assert(sizeof...(kMembers) == kKernelNames.size());
  static const KernelSet set = [] {
    KernelSet made = *kReal<kIsa>;
    [&]<std::size_t... kIndex>(std::index_sequence<kIndex...>) {
      ((made.*kMembers = Counted<kIsa, kIndex, kMembers>::call), ...);
    }
    (std::make_index_sequence<sizeof...(kMembers)>());
    return made;
  }();
  return &set;
}

/// In the order of kKernelNames.
template <Isa kIsa>
const KernelSet* counted_set() {
  using K = KernelSet;
  return counted<kIsa, &K::few_rows, &K::attend_scratch, &K::attend, &K::fold, &K::sum_weights,
                 &K::merge_states, &K::merge_results, &K::linear_scratch, &K::linear, &K::normalize,
                 &K::rotate>();
}

}  // namespace

KernelCounts& kernel_counts(Isa isa) {
  static std::array<KernelCounts, 4> counts{};
  return counts.at(static_cast<std::size_t>(isa));
}

}  // namespace rapt::test

namespace rapt::dispatch {

// This definition wins over that of the library's archive, whose object is then not linked.
std::span<const IsaRow> isa_table() noexcept {
  static const std::vector<IsaRow> table {
#if defined(RAPT_COMPILED_AVX512)
    {Isa::avx512, test::counted_set<Isa::avx512>(), cpu_has_avx512},
#endif
#if defined(RAPT_COMPILED_AVX2)
        {Isa::avx2, test::counted_set<Isa::avx2>(), cpu_has_avx2},
#endif
#if defined(RAPT_COMPILED_NEON)
        {Isa::neon, test::counted_set<Isa::neon>(), cpu_has_neon},
#endif
        {Isa::scalar, test::counted_set<Isa::scalar>(), []() noexcept { return true; }},
  };
  return table;
}

}  // namespace rapt::dispatch
