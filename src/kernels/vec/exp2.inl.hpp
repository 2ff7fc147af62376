// exp2 for x <= 0, tanh for the soft cap, log2 for the log-sum-exp: fixed sequences of exactly
// rounded operations.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// 2^x for x <= 0: within 2 ULP, +0 below kExp2Zero, 1 at 0, NaN for NaN.
RAPT_INLINE Vec exp2(Vec x) {
  // Adding 1.5 * 2^23 + 126 rounds to the nearest even integer n and leaves n + 126 in the low
  // bits; a shift then makes 2^(n - 1), which is cheaper than a rounding instruction and a
  // conversion. The polynomial is 2 p, which is exact. The result is a product, not an addition to
  // the exponent, so that the payload of a NaN cannot matter.
  // With one lane a weight of 0 is returned early: hidden keys are common.
  if (kVecLanes == 1 && all_below(x, Vec(kExp2Zero))) return Vec(0.0f);
  const Exp2Parts parts = exp2_parts(x, Vec(0x1.8p+23f + 126.0f), Vec(kExp2Zero));
  Vec p(2.0f * kExp2Coefficients[5]);
  RAPT_UNROLL for (int i = 4; i >= 0; --i) {
    p = fma(p, parts.f, Vec(2.0f * kExp2Coefficients[i]));
  }
  return p * parts.factor;
}

/// tanh(x) for |x| < kTanhSmall.
RAPT_INLINE Vec small_tanh(Vec x) {
  const Vec x2 = x * x;
  Vec q(kTanhCoefficients[4]);
  RAPT_UNROLL for (int i = 3; i >= 0; --i) q = fma(q, x2, Vec(kTanhCoefficients[i]));
  return fma(x * x2, q, x);
}

/// tanh(x), within a few ULP; NaN for NaN.
RAPT_INLINE Vec tanh(Vec x) {
  const Vec magnitude = absolute(x), bound(kTanhSmall);
  // Most scores are well below their cap: half of the work, and no second division.
  if (all_below(magnitude, bound)) return small_tanh(x);
  // For a large x the polynomial would overflow.
  const Vec small = small_tanh(select_less(magnitude, bound, x, Vec(0.0f)));
  const Vec e = exp2(magnitude * Vec(static_cast<float>(-2.0 * kLog2E)));
  const Vec large = with_sign_of(divide(Vec(1.0f) - e, Vec(1.0f) + e), x);
  return select_less(magnitude, bound, small, large);
}

/// exp2() of one value, with the same bits.
inline float exp2_scalar(float x) {
  if (x < kExp2Zero) return 0.0f;
  const float n = __builtin_rintf(x);
  const float f = x - n;
  float p = kExp2Coefficients[5];
  for (int i = 4; i >= 0; --i) p = __builtin_fmaf(p, f, kExp2Coefficients[i]);
  if (!(x <= 0.0f)) return p;  // NaN
  const std::int32_t exponent = static_cast<std::int32_t>(n) * (std::int32_t{1} << 23);
  return __builtin_bit_cast(float, __builtin_bit_cast(std::int32_t, p) + exponent);
}

/// log2(x) for a finite float x > 0, in double: x = f 2^e with f in [sqrt(1/2), sqrt(2)), and
/// ln f = 2 atanh z with z = (f - 1) / (f + 1) by its series to z^23; the error is below 2^-50.
inline double log2_double(float x) {
  // As a double even a subnormal float is normal, so its exponent field is valid.
  std::uint64_t bits = __builtin_bit_cast(std::uint64_t, static_cast<double>(x));
  std::int64_t e = static_cast<std::int64_t>(bits >> 52) - 1022;
  double f = __builtin_bit_cast(double, (bits & 0x000fffffffffffffu) | 0x3fe0000000000000u);
  if (f < 0x1.6a09e667f3bcdp-1) {
    f *= 2.0;
    e -= 1;
  }
  const double z = (f - 1.0) / (f + 1.0);
  const double z2 = z * z;
  double t = 1.0 / 23.0;
  for (int n = 21; n >= 1; n -= 2) t = t * z2 + 1.0 / static_cast<double>(n);
  return static_cast<double>(e) + (2.0 * kLog2E) * (z * t);
}

/// lse = (m + log2 l) ln 2, rounded once to float. A saturated m (score_options.inl.hpp) represents
/// any score at or below it: its lse is the lowest float.
inline float log_sum_exp(float m, float l) {
  if (!(l > 0.0f)) return l == 0.0f ? -kInfinity : canonical(l);
  if (m == kLowest) return kLowest;
  return canonical(static_cast<float>((static_cast<double>(m) + log2_double(l)) * kLn2));
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
