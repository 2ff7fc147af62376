// AVX2 with FMA: eight lanes.
#pragma once

#include "kernels/vec/base.hpp"
#include "kernels/vec/half.inl.hpp"

#include <xsimd/xsimd.hpp>

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

using Vec = xsimd::batch<float, xsimd::avx2>;
constexpr int kVecLanes = 8, kRegisters = 16;

RAPT_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
RAPT_INLINE Vec divide(Vec a, Vec b) { return _mm256_div_ps(a, b); }
RAPT_INLINE Vec max_ignoring_nan(Vec x, Vec acc) { return _mm256_max_ps(x, acc); }
RAPT_INLINE Vec max_magnitude(Vec a, Vec b) {
  return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
/// The float whose exponent field is the low 8 bits of x.
RAPT_INLINE Vec low_bits_to_exponent(Vec x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23));
}

struct Exp2Parts {
  Vec factor, f;
};
RAPT_INLINE Exp2Parts exp2_parts(Vec x, Vec shift, Vec bound) {
  // No blend: it takes a port of the multiply-adds (exp2 alone, Zen 4: 1.14 of the time without
  // any; a maximum: 1.03). If x is NaN, the maximum returns its second operand.
  const __m256 kept = _mm256_cmp_ps(x, bound, _CMP_NLT_UQ);
  x = _mm256_max_ps(Vec(-126.0f), x);
  const Vec n = x + shift;
  return {_mm256_and_ps(kept, low_bits_to_exponent(n)), x - (n - shift)};
}

RAPT_INLINE Vec load(const unsigned char* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}
RAPT_INLINE Vec load(const std::int8_t* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}
RAPT_INLINE Vec load(const Bf16* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
RAPT_INLINE Vec load(const F16* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
RAPT_INLINE void store_canonical(Bf16* p, Vec x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i sum = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i high = _mm256_srli_epi32(sum, 16);
  const __m128i packed =
      _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
}
RAPT_INLINE void store_canonical(F16* p, Vec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
RAPT_INLINE Vec load_first(const float* p, std::int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane));
}
// AVX2's masked store is microcode on AMD's processors.
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
RAPT_INLINE std::uint64_t below_bits(Vec x, Vec bound) {
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(x, bound, _CMP_LT_OQ)));
}
RAPT_INLINE Vec keep_bits(Vec x, std::uint64_t bits, Vec other) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i own = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), bit);
  return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(_mm256_cmpeq_epi32(own, bit)));
}
RAPT_INLINE std::uint64_t nonzero_bits(const unsigned char* p) {
  const __m256i* at = reinterpret_cast<const __m256i*>(p);
  const __m256i zero = _mm256_setzero_si256();
  const auto zeros = [&](int i) {
    return static_cast<unsigned>(
        _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256(at + i), zero)));
  };
  return ~(zeros(0) | std::uint64_t{zeros(1)} << 32);
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

template <int Lane>
Vec fma_lane(Vec x, Vec factors, Vec acc) = delete;
constexpr bool kHasFmaLane = false;

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA

#include "kernels/vec/batch.hpp"
