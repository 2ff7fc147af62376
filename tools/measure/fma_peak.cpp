// Chains of fused multiply-adds for each ISA, each function compiled for its own.
#include "measure/fma_peak.hpp"

#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace rapt::tools {
namespace {

// Latency 4 or 5 cycles times 2 FMA ports needs 8 to 10 chains in flight; 12 and the two operands
// fit the 16 registers of AVX2.
constexpr int kChains = 12;
// a = a / 2 + 1 tends to 2: no overflow, no subnormals, and no constant that a compiler could fold.
constexpr float kFactor = 0.5f;
constexpr float kAddend = 1.0f;

float chains_scalar(std::int64_t iterations) {
  float a[kChains];
  for (int i = 0; i < kChains; ++i) a[i] = static_cast<float>(i);
  for (std::int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) a[i] = std::fma(a[i], kFactor, kAddend);
  }
  float sum = 0.0f;
  for (const float value : a) sum += value;
  return sum;
}

#if defined(__x86_64__)

__attribute__((target("avx512f"))) float chains_avx512(std::int64_t iterations) {
  const __m512 factor = _mm512_set1_ps(kFactor);
  const __m512 addend = _mm512_set1_ps(kAddend);
  __m512 a[kChains];
  for (int i = 0; i < kChains; ++i) a[i] = _mm512_set1_ps(static_cast<float>(i));
  for (std::int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) a[i] = _mm512_fmadd_ps(a[i], factor, addend);
  }
  __m512 sum = a[0];
  for (int i = 1; i < kChains; ++i) sum = _mm512_add_ps(sum, a[i]);
  float lanes[16];
  _mm512_storeu_ps(lanes, sum);
  return lanes[0];
}

__attribute__((target("avx2,fma"))) float chains_avx2(std::int64_t iterations) {
  const __m256 factor = _mm256_set1_ps(kFactor);
  const __m256 addend = _mm256_set1_ps(kAddend);
  __m256 a[kChains];
  for (int i = 0; i < kChains; ++i) a[i] = _mm256_set1_ps(static_cast<float>(i));
  for (std::int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) a[i] = _mm256_fmadd_ps(a[i], factor, addend);
  }
  __m256 sum = a[0];
  for (int i = 1; i < kChains; ++i) sum = _mm256_add_ps(sum, a[i]);
  float lanes[8];
  _mm256_storeu_ps(lanes, sum);
  return lanes[0];
}

#elif defined(__aarch64__)

float chains_neon(std::int64_t iterations) {
  const float32x4_t factor = vdupq_n_f32(kFactor);
  const float32x4_t addend = vdupq_n_f32(kAddend);
  float32x4_t a[kChains];
  for (int i = 0; i < kChains; ++i) a[i] = vdupq_n_f32(static_cast<float>(i));
  for (std::int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) a[i] = vfmaq_f32(addend, a[i], factor);
  }
  float32x4_t sum = a[0];
  for (int i = 1; i < kChains; ++i) sum = vaddq_f32(sum, a[i]);
  return vgetq_lane_f32(sum, 0);
}

#endif

}  // namespace

double run_fma_chains(Isa isa, std::int64_t iterations) {
  volatile float sink = 0.0f;
  double width = 1.0;
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx512:
      width = 16.0;
      sink = chains_avx512(iterations);
      break;
    case Isa::avx2:
      width = 8.0;
      sink = chains_avx2(iterations);
      break;
#elif defined(__aarch64__)
    case Isa::neon:
      width = 4.0;
      sink = chains_neon(iterations);
      break;
#endif
    default:
      sink = chains_scalar(iterations);
      break;
  }
  static_cast<void>(sink);
  return 2.0 * kChains * width * static_cast<double>(iterations);
}

}  // namespace rapt::tools
