// The operations that xsimd provides for all ISAs. Included at the end of an ISA's file if its Vec
// is an xsimd batch.
#pragma once

#include "kernels/vec/base.hpp"

#include <xsimd/xsimd.hpp>

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

RAPT_INLINE Vec canonical(Vec x) {
  return xsimd::select(x == x, x, Vec(__builtin_bit_cast(float, kCanonicalNan)));
}
RAPT_INLINE Vec absolute(Vec x) { return xsimd::abs(x); }
RAPT_INLINE Vec with_sign_of(Vec x, Vec sign) {
  return xsimd::bitwise_or(x, xsimd::bitwise_and(sign, Vec(-0.0f)));  // x >= 0
}
RAPT_INLINE Vec select_less(Vec x, Vec bound, Vec yes, Vec no) {
  return xsimd::select(x < bound, yes, no);
}
RAPT_INLINE Vec keep_lanes(Vec x, std::int64_t first, std::int64_t begin, std::int64_t end,
                           Vec other) {
  const Vec lane = Vec::load_unaligned(kLaneNumbers);
  const Vec low(static_cast<float>(begin - first)), high(static_cast<float>(end - first));
  return xsimd::select((lane >= low) & (lane < high), x, other);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
