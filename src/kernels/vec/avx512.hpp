// AVX-512 F, BW, DQ and VL: sixteen lanes, with masks for partial vectors.
#pragma once

#include "kernels/vec/base.hpp"
#include "kernels/vec/half.inl.hpp"

#include <xsimd/xsimd.hpp>

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

using Vec = xsimd::batch<float, xsimd::avx512dq>;
constexpr int kVecLanes = 16, kRegisters = 32;

// xsimd 8.1 has no fused fma for AVX-512, and its max does not specify which operand a NaN yields.
RAPT_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
RAPT_INLINE Vec divide(Vec a, Vec b) { return _mm512_div_ps(a, b); }
RAPT_INLINE Vec max_ignoring_nan(Vec x, Vec acc) { return _mm512_max_ps(x, acc); }
RAPT_INLINE Vec max_magnitude(Vec a, Vec b) {
  return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}

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

RAPT_INLINE Vec load(const unsigned char* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}
RAPT_INLINE Vec load(const std::int8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}
RAPT_INLINE Vec load(const Bf16* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
RAPT_INLINE Vec load(const F16* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
RAPT_INLINE void store_canonical(Bf16* p, Vec x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m256i high = _mm512_cvtepi32_epi16(_mm512_srli_epi32(sum, 16));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), high);
}
RAPT_INLINE void store_canonical(F16* p, Vec x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
RAPT_INLINE Vec load_first(const float* p, std::int64_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
}
RAPT_INLINE void store_first(float* p, Vec x, std::int64_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), x);
}
RAPT_INLINE bool all_below(Vec x, Vec bound) {
  return _mm512_cmp_ps_mask(x, bound, _CMP_LT_OQ) == 0xffff;
}
RAPT_INLINE std::uint64_t below_bits(Vec x, Vec bound) {
  return _mm512_cmp_ps_mask(x, bound, _CMP_LT_OQ);
}
RAPT_INLINE Vec keep_bits(Vec x, std::uint64_t bits, Vec other) {
  return _mm512_mask_blend_ps(static_cast<__mmask16>(bits), other, x);
}
RAPT_INLINE std::uint64_t nonzero_bits(const unsigned char* p) {
  const __m512i bytes = _mm512_loadu_si512(p);
  return _mm512_test_epi8_mask(bytes, bytes);
}

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

template <int Lane>
Vec fma_lane(Vec x, Vec factors, Vec acc) = delete;
constexpr bool kHasFmaLane = false;

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA

#include "kernels/vec/batch.hpp"
