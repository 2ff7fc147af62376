#include "kernels/counted_kernels.hpp"

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
  replace<kIsa, 10, &K::normalize>(set);
  replace<kIsa, 11, &K::rotate>(set);
  return set;
}

template <Isa kIsa>
const KernelSet* counted_set() {
  static const KernelSet set = make_counted<kIsa>();
  return &set;
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
