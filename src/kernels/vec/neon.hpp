// Advanced SIMD of AArch64: four lanes.
#pragma once

#include "kernels/vec/base.hpp"
#include "kernels/vec/half.inl.hpp"

#include <xsimd/xsimd.hpp>

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

using Vec = xsimd::batch<float, xsimd::neon64>;
constexpr int kVecLanes = 4, kRegisters = 32;

RAPT_INLINE Vec fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
// xsimd 8.1 divides by an estimated reciprocal, whose quotient is not correctly rounded.
RAPT_INLINE Vec divide(Vec a, Vec b) { return vdivq_f32(a, b); }
RAPT_INLINE Vec max_ignoring_nan(Vec x, Vec acc) { return vmaxnmq_f32(x, acc); }
RAPT_INLINE Vec max_magnitude(Vec a, Vec b) {
  return vreinterpretq_f32_s32(vmaxq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b)));
}
RAPT_INLINE Vec low_bits_to_exponent(Vec x) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(x), 23));
}
RAPT_INLINE bool all_below(Vec x, Vec bound) { return vminvq_u32(vcltq_f32(x, bound)) != 0; }
/// Bit i in lane i.
RAPT_INLINE uint32x4_t lane_bits() {
  constexpr std::uint32_t bits[4] = {1, 2, 4, 8};
  return vld1q_u32(bits);
}
RAPT_INLINE std::uint64_t below_bits(Vec x, Vec bound) {
  return vaddvq_u32(vandq_u32(vcltq_f32(x, bound), lane_bits()));
}
RAPT_INLINE Vec keep_bits(Vec x, std::uint64_t bits, Vec other) {
  const uint32x4_t all = vdupq_n_u32(static_cast<std::uint32_t>(bits));
  return vbslq_f32(vtstq_u32(all, lane_bits()), x, other);
}

RAPT_INLINE Vec load(const std::int8_t* p) {
  std::uint32_t bytes = 0;
  __builtin_memcpy(&bytes, p, 4);
  const int8x8_t eight = vreinterpret_s8_u32(vdup_n_u32(bytes));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(eight))));
}
RAPT_INLINE Vec load(const Bf16* p) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(&p->bits), 16));
}
RAPT_INLINE Vec load(const F16* p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)));
}
RAPT_INLINE void store_canonical(Bf16* p, Vec x) {
  const uint32x4_t bits = vreinterpretq_u32_f32(x);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t sum = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  vst1_u16(&p->bits, vshrn_n_u32(sum, 16));
}
RAPT_INLINE void store_canonical(F16* p, Vec x) {
  vst1_u16(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32(x)));
}

template <int Lane>
RAPT_INLINE Vec fma_lane(Vec x, Vec factors, Vec acc) {
  return vfmaq_laneq_f32(acc, x, factors, Lane);
}
constexpr bool kHasFmaLane = true;

RAPT_INLINE float sum_lanes(Vec x) {
  const float32x2_t w = vadd_f32(vget_low_f32(x), vget_high_f32(x));
  return vget_lane_f32(w, 0) + vget_lane_f32(w, 1);
}
RAPT_INLINE float max_lanes(Vec x) { return vmaxvq_f32(x); }

RAPT_INLINE void load_transposed(const float* src, std::int64_t stride, Vec (&column)[4]) {
  const float32x4x2_t t01 = vtrnq_f32(vld1q_f32(src), vld1q_f32(src + stride));
  const float32x4x2_t t23 = vtrnq_f32(vld1q_f32(src + 2 * stride), vld1q_f32(src + 3 * stride));
  column[0] = vcombine_f32(vget_low_f32(t01.val[0]), vget_low_f32(t23.val[0]));
  column[1] = vcombine_f32(vget_low_f32(t01.val[1]), vget_low_f32(t23.val[1]));
  column[2] = vcombine_f32(vget_high_f32(t01.val[0]), vget_high_f32(t23.val[0]));
  column[3] = vcombine_f32(vget_high_f32(t01.val[1]), vget_high_f32(t23.val[1]));
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA

#include "kernels/vec/batch.hpp"
#include "kernels/vec/plain.hpp"
