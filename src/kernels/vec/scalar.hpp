// Scalar: one lane, in plain C++ operations.
#pragma once

#include "kernels/vec/base.hpp"
#include "kernels/vec/half.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

struct Vec {
  float value;
  Vec() = default;
  RAPT_INLINE Vec(float x) : value(x) {}
  static RAPT_INLINE Vec load_unaligned(const float* p) { return *p; }
  RAPT_INLINE void store_unaligned(float* p) const { *p = value; }
};

constexpr int kVecLanes = 1, kRegisters = 16;

RAPT_INLINE Vec operator+(Vec a, Vec b) { return a.value + b.value; }
RAPT_INLINE Vec operator-(Vec a, Vec b) { return a.value - b.value; }
RAPT_INLINE Vec operator*(Vec a, Vec b) { return a.value * b.value; }
RAPT_INLINE Vec divide(Vec a, Vec b) { return a.value / b.value; }
RAPT_INLINE Vec fma(Vec a, Vec b, Vec c) { return __builtin_fmaf(a.value, b.value, c.value); }
RAPT_INLINE Vec max_ignoring_nan(Vec x, Vec acc) { return x.value > acc.value ? x : acc; }
RAPT_INLINE Vec max_magnitude(Vec a, Vec b) {
  return a.value <= b.value || b.value != b.value ? b : a;
}
RAPT_INLINE Vec low_bits_to_exponent(Vec x) {
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, x.value) << 23);
}
RAPT_INLINE bool all_below(Vec x, Vec bound) { return x.value < bound.value; }
RAPT_INLINE std::uint64_t below_bits(Vec x, Vec bound) { return x.value < bound.value ? 1 : 0; }
RAPT_INLINE Vec keep_bits(Vec x, std::uint64_t bits, Vec other) {
  return (bits & 1) != 0 ? x : other;
}

RAPT_INLINE Vec canonical(Vec x) { return canonical(x.value); }
RAPT_INLINE Vec absolute(Vec x) { return __builtin_fabsf(x.value); }
RAPT_INLINE Vec with_sign_of(Vec x, Vec sign) { return __builtin_copysignf(x.value, sign.value); }
RAPT_INLINE Vec select_less(Vec x, Vec bound, Vec yes, Vec no) {
  return x.value < bound.value ? yes : no;
}
RAPT_INLINE Vec keep_lanes(Vec x, std::int64_t first, std::int64_t begin, std::int64_t end,
                           Vec other) {
  return begin <= first && first < end ? x : other;
}

RAPT_INLINE Vec load(const std::int8_t* p) { return widened(*p); }
RAPT_INLINE Vec load(const Bf16* p) { return widened(*p); }
RAPT_INLINE Vec load(const F16* p) { return widened(*p); }
RAPT_INLINE void store_canonical(Bf16* p, Vec x) { narrow(x.value, *p); }
RAPT_INLINE void store_canonical(F16* p, Vec x) { narrow(x.value, *p); }

RAPT_INLINE float sum_lanes(Vec x) { return x.value; }
RAPT_INLINE float max_lanes(Vec x) { return x.value; }

RAPT_INLINE void load_transposed(const float* src, std::int64_t, Vec (&column)[1]) {
  column[0] = *src;
}

template <int Lane>
Vec fma_lane(Vec x, Vec factors, Vec acc) = delete;
constexpr bool kHasFmaLane = false;

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA

#include "kernels/vec/plain.hpp"
