// The facade over xsimd: every vector operation that the kernels use, and the only file that knows
// an ISA's intrinsics. xsimd's versions differ only in here.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own AVX-512 headers read a deliberately undefined register.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#if !defined(RAPT_KERNEL_ISA_SCALAR)
#include <xsimd/xsimd.hpp>
#endif

// Loops over register tiles must be unrolled before GCC decides what lives in memory, or the
// accumulators are spilled.
#define RAPT_UNROLL _Pragma("GCC unroll 16")
#define RAPT_INLINE inline __attribute__((always_inline))
// Register tiles: inside a larger function their loops paid for its registers (P1, AVX-512: 0.985).
#define RAPT_NOINLINE __attribute__((noinline))

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// A value of which the compiler no longer knows how it came about: it stays in a register instead
/// of being computed, and then spilled, in as many forms as it is used in.
template <class T>
RAPT_INLINE T opaque(T x) {
  asm("" : "+r"(x));
  return x;
}

#if defined(RAPT_KERNEL_ISA_AVX512)

using Vec = xsimd::batch<float, xsimd::avx512dq>;
constexpr int kVecLanes = 16;

// xsimd 8.1 has no fused fma for AVX-512, and its max does not say which operand a NaN yields.
RAPT_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
RAPT_INLINE Vec divide(Vec a, Vec b) { return _mm512_div_ps(a, b); }
/// The larger one; `acc` where x is NaN.
RAPT_INLINE Vec max_ignoring_nan(Vec x, Vec acc) { return _mm512_max_ps(x, acc); }
/// The larger one of two that are not negative, NaN above all: by their bits.
RAPT_INLINE Vec max_magnitude(Vec a, Vec b) {
  return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
/// x as exp2 takes it apart: n = x + shift, of which the low 8 bits are an exponent field, and the
/// rest f = x - n. Both are 0 where x < bound (and not where x is NaN), and nothing is computed
/// there: (-inf) - (-inf) is invalid, and a factor of any exponent overflows.
struct Exp2Parts {
  Vec factor, f;
};
RAPT_INLINE Exp2Parts exp2_parts(Vec x, Vec shift, Vec bound) {
  const __mmask16 kept = _mm512_cmp_ps_mask(x, bound, _CMP_NLT_UQ);
#if defined(__clang__)  // makes a whole operation and a choice of a masked one
  x = _mm512_max_ps(Vec(-126.0f), x);
#endif
  const Vec n = x + shift;
  const __m512i factor = _mm512_maskz_slli_epi32(kept, _mm512_castps_si512(n), 23);
  return {_mm512_castsi512_ps(factor), _mm512_maskz_sub_ps(kept, x, n - shift)};
}

/// Bytes as floats.
RAPT_INLINE Vec load(const unsigned char* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}
/// The first n floats of p, n below the lanes, and 0 in the others; what lies behind is not
/// touched.
RAPT_INLINE Vec load_first(const float* p, std::int64_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
}
RAPT_INLINE void store_first(float* p, Vec x, std::int64_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), x);
}
/// Whether every lane of x is below its bound; not where x is NaN.
RAPT_INLINE bool all_below(Vec x, Vec bound) {
  return _mm512_cmp_ps_mask(x, bound, _CMP_LT_OQ) == 0xffff;
}

/// Adds lanes t and t + half for half = 8, 4, 2, 1.
RAPT_INLINE float sum_lanes(Vec x) {
  const __m256 y = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  const __m128 w = _mm_add_ps(z, _mm_movehl_ps(z, z));
  return _mm_cvtss_f32(_mm_add_ss(w, _mm_movehdup_ps(w)));
}
RAPT_INLINE float max_lanes(Vec x) {
  const __m256 y = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  const __m128 w = _mm_max_ps(z, _mm_movehl_ps(z, z));
  return _mm_cvtss_f32(_mm_max_ss(w, _mm_movehdup_ps(w)));
}

/// Loads 16 x 16 floats transposed: lane i of column[j] = src[i * stride + j].
RAPT_INLINE void load_transposed(const float* src, std::int64_t stride, Vec (&column)[16]) {
  // Each row is loaded once and whole: rows a power of two apart share a few sets of L1, and a
  // second load of the same line would find it evicted.
  __m512 quad[16];  // quad[4 g + c]: of rows 4 g to 4 g + 3, columns c, c + 4, c + 8, c + 12
  const std::int64_t three = opaque(3 * stride);
  const float* p = src;
  RAPT_UNROLL for (int g = 0; g < 4; ++g, p = opaque(p + 4 * stride)) {
    const __m512 r0 = _mm512_loadu_ps(p), r1 = _mm512_loadu_ps(p + stride);
    const __m512 r2 = _mm512_loadu_ps(p + 2 * stride), r3 = _mm512_loadu_ps(p + three);
    const __m512 lo01 = _mm512_unpacklo_ps(r0, r1), hi01 = _mm512_unpackhi_ps(r0, r1);
    const __m512 lo23 = _mm512_unpacklo_ps(r2, r3), hi23 = _mm512_unpackhi_ps(r2, r3);
    quad[4 * g + 0] = _mm512_shuffle_ps(lo01, lo23, 0x44);
    quad[4 * g + 1] = _mm512_shuffle_ps(lo01, lo23, 0xee);
    quad[4 * g + 2] = _mm512_shuffle_ps(hi01, hi23, 0x44);
    quad[4 * g + 3] = _mm512_shuffle_ps(hi01, hi23, 0xee);
  }
  RAPT_UNROLL for (int c = 0; c < 4; ++c) {
    const __m512 low01 = _mm512_shuffle_f32x4(quad[c], quad[4 + c], 0x44);
    const __m512 high01 = _mm512_shuffle_f32x4(quad[c], quad[4 + c], 0xee);
    const __m512 low23 = _mm512_shuffle_f32x4(quad[8 + c], quad[12 + c], 0x44);
    const __m512 high23 = _mm512_shuffle_f32x4(quad[8 + c], quad[12 + c], 0xee);
    column[c] = _mm512_shuffle_f32x4(low01, low23, 0x88);
    column[4 + c] = _mm512_shuffle_f32x4(low01, low23, 0xdd);
    column[8 + c] = _mm512_shuffle_f32x4(high01, high23, 0x88);
    column[12 + c] = _mm512_shuffle_f32x4(high01, high23, 0xdd);
  }
}

#elif defined(RAPT_KERNEL_ISA_AVX2)

using Vec = xsimd::batch<float, xsimd::avx2>;
constexpr int kVecLanes = 8;

RAPT_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
RAPT_INLINE Vec divide(Vec a, Vec b) { return _mm256_div_ps(a, b); }
RAPT_INLINE Vec max_ignoring_nan(Vec x, Vec acc) { return _mm256_max_ps(x, acc); }
RAPT_INLINE Vec max_magnitude(Vec a, Vec b) {
  return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
/// The float whose exponent field is the low 8 bits of x's.
RAPT_INLINE Vec low_bits_to_exponent(Vec x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23));
}
struct Exp2Parts {
  Vec factor, f;
};
RAPT_INLINE Exp2Parts exp2_parts(Vec x, Vec shift, Vec bound) {
  // A blend takes a port of the multiply-adds (exp2 alone, Zen 4: 1.14 of the time of none, a
  // maximum 1.03). Where x is NaN it is the second operand that stays.
  const __m256 kept = _mm256_cmp_ps(x, bound, _CMP_NLT_UQ);
  x = _mm256_max_ps(Vec(-126.0f), x);
  const Vec n = x + shift;
  return {_mm256_and_ps(kept, low_bits_to_exponent(n)), x - (n - shift)};
}
RAPT_INLINE Vec load(const unsigned char* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}
RAPT_INLINE Vec load_first(const float* p, std::int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane));
}
// The masked store is microcode on AMD's processors.
RAPT_INLINE void store_first(float* p, Vec x, std::int64_t n) {
  __m128 part = _mm256_castps256_ps128(x);
  if ((n & 4) != 0) {
    _mm_storeu_ps(p, part);
    part = _mm256_extractf128_ps(x, 1);
    p += 4;
  }
  if ((n & 2) != 0) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), part);
    part = _mm_movehl_ps(part, part);
    p += 2;
  }
  if ((n & 1) != 0) _mm_store_ss(p, part);
}
RAPT_INLINE bool all_below(Vec x, Vec bound) {
  return _mm256_movemask_ps(_mm256_cmp_ps(x, bound, _CMP_LT_OQ)) == 0xff;
}

RAPT_INLINE float sum_lanes(Vec x) {
  const __m128 z = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 w = _mm_add_ps(z, _mm_movehl_ps(z, z));
  return _mm_cvtss_f32(_mm_add_ss(w, _mm_movehdup_ps(w)));
}
RAPT_INLINE float max_lanes(Vec x) {
  const __m128 z = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 w = _mm_max_ps(z, _mm_movehl_ps(z, z));
  return _mm_cvtss_f32(_mm_max_ss(w, _mm_movehdup_ps(w)));
}

/// Loads 8 x 8 floats transposed: lane i of column[j] = src[i * stride + j].
RAPT_INLINE void load_transposed(const float* src, std::int64_t stride, Vec (&column)[8]) {
  const std::int64_t three = opaque(3 * stride);
  const float* const half = opaque(src + 4 * stride);
  RAPT_UNROLL for (int b = 0; b < 2; ++b) {
    const std::int64_t row[4] = {0, stride, 2 * stride, three};
    __m256 t[4];
    RAPT_UNROLL for (int i = 0; i < 4; ++i) {
      t[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(src + row[i] + 4 * b)),
                                  _mm_loadu_ps(half + row[i] + 4 * b), 1);
    }
    const __m256 lo01 = _mm256_unpacklo_ps(t[0], t[1]);
    const __m256 hi01 = _mm256_unpackhi_ps(t[0], t[1]);
    const __m256 lo23 = _mm256_unpacklo_ps(t[2], t[3]);
    const __m256 hi23 = _mm256_unpackhi_ps(t[2], t[3]);
    column[4 * b + 0] = _mm256_shuffle_ps(lo01, lo23, 0x44);
    column[4 * b + 1] = _mm256_shuffle_ps(lo01, lo23, 0xee);
    column[4 * b + 2] = _mm256_shuffle_ps(hi01, hi23, 0x44);
    column[4 * b + 3] = _mm256_shuffle_ps(hi01, hi23, 0xee);
  }
}

#elif defined(RAPT_KERNEL_ISA_NEON)

using Vec = xsimd::batch<float, xsimd::neon64>;
constexpr int kVecLanes = 4;

RAPT_INLINE Vec fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
// xsimd 8.1 divides by an estimate of the reciprocal, which is not rounded as a quotient.
RAPT_INLINE Vec divide(Vec a, Vec b) { return vdivq_f32(a, b); }
RAPT_INLINE Vec max_ignoring_nan(Vec x, Vec acc) { return vmaxnmq_f32(x, acc); }
RAPT_INLINE Vec max_magnitude(Vec a, Vec b) {
  return vreinterpretq_f32_s32(vmaxq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b)));
}
RAPT_INLINE Vec low_bits_to_exponent(Vec x) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(x), 23));
}
RAPT_INLINE bool all_below(Vec x, Vec bound) { return vminvq_u32(vcltq_f32(x, bound)) != 0; }

/// x times one lane of `factors`, added to acc: one load of factors serves as many steps as it has
/// lanes.
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

/// Loads 4 x 4 floats transposed: lane i of column[j] = src[i * stride + j].
RAPT_INLINE void load_transposed(const float* src, std::int64_t stride, Vec (&column)[4]) {
  const float32x4x2_t t01 = vtrnq_f32(vld1q_f32(src), vld1q_f32(src + stride));
  const float32x4x2_t t23 = vtrnq_f32(vld1q_f32(src + 2 * stride), vld1q_f32(src + 3 * stride));
  column[0] = vcombine_f32(vget_low_f32(t01.val[0]), vget_low_f32(t23.val[0]));
  column[1] = vcombine_f32(vget_low_f32(t01.val[1]), vget_low_f32(t23.val[1]));
  column[2] = vcombine_f32(vget_high_f32(t01.val[0]), vget_high_f32(t23.val[0]));
  column[3] = vcombine_f32(vget_high_f32(t01.val[1]), vget_high_f32(t23.val[1]));
}

#else  // scalar: one lane, and the compiler's own idea of everything

struct Vec {
  float value;
  Vec() = default;
  RAPT_INLINE Vec(float x) : value(x) {}
  static RAPT_INLINE Vec load_unaligned(const float* p) { return *p; }
  RAPT_INLINE void store_unaligned(float* p) const { *p = value; }
};
constexpr int kVecLanes = 1;

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

RAPT_INLINE float sum_lanes(Vec x) { return x.value; }
RAPT_INLINE float max_lanes(Vec x) { return x.value; }

RAPT_INLINE void load_transposed(const float* src, std::int64_t, Vec (&column)[1]) {
  column[0] = *src;
}

#endif

#if !defined(RAPT_KERNEL_ISA_NEON)
template <int Lane>
Vec fma_lane(Vec x, Vec factors, Vec acc) = delete;
constexpr bool kHasFmaLane = false;
#endif

/// The one NaN that Rapt writes, so that even NaNs have the same bits on every ISA.
constexpr std::uint32_t kCanonicalNan = 0x7fc00000u;
RAPT_INLINE float canonical(float x) {
  return x == x ? x : __builtin_bit_cast(float, kCanonicalNan);
}
#if defined(RAPT_KERNEL_ISA_SCALAR)
RAPT_INLINE Vec canonical(Vec x) { return canonical(x.value); }
RAPT_INLINE Vec absolute(Vec x) { return __builtin_fabsf(x.value); }
RAPT_INLINE Vec with_sign_of(Vec x, Vec sign) { return __builtin_copysignf(x.value, sign.value); }
RAPT_INLINE Vec select_less(Vec x, Vec bound, Vec yes, Vec no) {
  return x.value < bound.value ? yes : no;
}
#else
RAPT_INLINE Vec canonical(Vec x) {
  return xsimd::select(x == x, x, Vec(__builtin_bit_cast(float, kCanonicalNan)));
}
RAPT_INLINE Vec absolute(Vec x) { return xsimd::abs(x); }
RAPT_INLINE Vec with_sign_of(Vec x, Vec sign) {
  return xsimd::bitwise_or(x, xsimd::bitwise_and(sign, Vec(-0.0f)));  // x >= 0
}
/// `yes` where x < bound, else (also for NaN) `no`.
RAPT_INLINE Vec select_less(Vec x, Vec bound, Vec yes, Vec no) {
  return xsimd::select(x < bound, yes, no);
}
#endif

#if !defined(RAPT_KERNEL_ISA_AVX512) && !defined(RAPT_KERNEL_ISA_AVX2)
struct Exp2Parts {
  Vec factor, f;
};
RAPT_INLINE Exp2Parts exp2_parts(Vec x, Vec shift, Vec bound) {
  // What is below the bound becomes the number of which n is 1.5 * 2^23: an exponent field of 0.
  x = select_less(x, bound, Vec(0x1.8p+23f) - shift, x);
  const Vec n = x + shift;
  return {low_bits_to_exponent(n), x - (n - shift)};
}
#endif

/// 0, 1, 2, ... of a vector that is part `first` and on of a line of kLanes.
RAPT_INLINE Vec lane_numbers(int first) {
  alignas(64) static constexpr float kNumbers[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                     8, 9, 10, 11, 12, 13, 14, 15};
  return Vec::load_unaligned(kNumbers + first);
}

/// x in lanes [begin, end) of a vector whose lane 0 counts as `first`, `other` in the rest.
#if defined(RAPT_KERNEL_ISA_SCALAR)
RAPT_INLINE Vec keep_lanes(Vec x, std::int64_t first, std::int64_t begin, std::int64_t end,
                           Vec other) {
  return begin <= first && first < end ? x : other;
}
#else
RAPT_INLINE Vec keep_lanes(Vec x, std::int64_t first, std::int64_t begin, std::int64_t end,
                           Vec other) {
  const Vec lane = lane_numbers(0);
  const Vec low(static_cast<float>(begin - first)), high(static_cast<float>(end - first));
  return xsimd::select((lane >= low) & (lane < high), x, other);
}
#endif

RAPT_INLINE Vec load(const float* p) { return Vec::load_unaligned(p); }
RAPT_INLINE void store(float* p, Vec x) { x.store_unaligned(p); }
#if !defined(RAPT_KERNEL_ISA_AVX512) && !defined(RAPT_KERNEL_ISA_AVX2)
RAPT_INLINE Vec load(const unsigned char* p) {
  float part[kVecLanes];
  for (int i = 0; i < kVecLanes; ++i) part[i] = static_cast<float>(p[i]);
  return load(part);
}
RAPT_INLINE Vec load_first(const float* p, std::int64_t n) {
  float part[kVecLanes] = {};
  for (std::int64_t i = 0; i < n; ++i) part[i] = p[i];
  return load(part);
}
RAPT_INLINE void store_first(float* p, Vec x, std::int64_t n) {
  float part[kVecLanes];
  store(part, x);
  for (std::int64_t i = 0; i < n; ++i) p[i] = part[i];
}
#endif

constexpr float kInfinity = __builtin_inff();
constexpr float kLowest = -__FLT_MAX__;

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
