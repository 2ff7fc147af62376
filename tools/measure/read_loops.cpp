// The loops, each function compiled for its own vectors. One step of a stream is four cache lines.
#include "measure/read_loops.hpp"

#include "rapt/isa.hpp"

#include <fmt/format.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstring>

namespace rapt::tools {
namespace {

constexpr std::size_t kLine = 16;
constexpr std::size_t kLines = 4;
constexpr std::size_t kStep = kLines * kLine;

// Into L2 and not L1: what is prefetched 8 KiB ahead would often have left L1 before its turn.
inline void prefetch_step(const float* from, int ahead) {
  const float* const line = from + static_cast<std::size_t>(ahead) / sizeof(float);
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kLines; ++i) __builtin_prefetch(line + i * kLine, 0, 2);
}

// 16 bytes are a vector of any processor, with NEON among them.
using Quad = float __attribute__((vector_size(16)));

float read_quads(const float* from, std::size_t count, const ReadWay& way) {
  constexpr std::size_t kQuads = kStep / 4;
  Quad sums[kQuads] = {};
  const std::size_t part = count / static_cast<std::size_t>(way.streams);
  for (std::size_t i = 0; i < part; i += kStep) {
    for (const float* p = from + i; p < from + count; p += part) {
      if (way.ahead != 0) prefetch_step(p, way.ahead);
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kQuads; ++j) {
        Quad quad;
        std::memcpy(&quad, p + 4 * j, sizeof quad);
        sums[j] += quad;
      }
    }
  }
  for (std::size_t j = 1; j < kQuads; ++j) sums[0] += sums[j];
  return sums[0][0] + sums[0][1] + sums[0][2] + sums[0][3];
}

#if defined(__x86_64__)

__attribute__((target("avx512f"))) float read_avx512(const float* from, std::size_t count,
                                                     const ReadWay& way) {
  __m512 sums[kLines];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  const std::size_t part = count / static_cast<std::size_t>(way.streams);
  for (std::size_t i = 0; i < part; i += kStep) {
    for (const float* p = from + i; p < from + count; p += part) {
      if (way.ahead != 0) prefetch_step(p, way.ahead);
#pragma GCC unroll 4
      for (std::size_t j = 0; j < kLines; ++j) {
        sums[j] = _mm512_add_ps(sums[j], _mm512_loadu_ps(p + j * kLine));
      }
    }
  }
  const __m512 sum =
      _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
  float lanes[16];
  _mm512_storeu_ps(lanes, sum);
  float total = 0.0f;
  for (const float lane : lanes) total += lane;
  return total;
}

__attribute__((target("avx2"))) float read_avx2(const float* from, std::size_t count,
                                                const ReadWay& way) {
  constexpr std::size_t kVectors = kStep / 8;
  __m256 sums[kVectors];
  for (__m256& sum : sums) sum = _mm256_setzero_ps();
  const std::size_t part = count / static_cast<std::size_t>(way.streams);
  for (std::size_t i = 0; i < part; i += kStep) {
    for (const float* p = from + i; p < from + count; p += part) {
      if (way.ahead != 0) prefetch_step(p, way.ahead);
#pragma GCC unroll 8
      for (std::size_t j = 0; j < kVectors; ++j) {
        sums[j] = _mm256_add_ps(sums[j], _mm256_loadu_ps(p + 8 * j));
      }
    }
  }
  for (std::size_t j = 1; j < kVectors; ++j) sums[0] = _mm256_add_ps(sums[0], sums[j]);
  float lanes[8];
  _mm256_storeu_ps(lanes, sums[0]);
  float total = 0.0f;
  for (const float lane : lanes) total += lane;
  return total;
}

#endif

}  // namespace

std::span<const ReadWay> read_ways() {
  static constexpr ReadWay kWays[] = {{1, 0},    {1, 4096}, {1, 8192}, {2, 0},
                                      {2, 4096}, {4, 0},    {4, 4096}, {8, 0}};
  return kWays;
}

float read_floats(const float* from, std::size_t count, const ReadWay& way) {
#if defined(__x86_64__)
  static const bool avx512 = isa_available(Isa::avx512);
  static const bool avx2 = isa_available(Isa::avx2);
  if (avx512) return read_avx512(from, count, way);
  if (avx2) return read_avx2(from, count, way);
#endif
  return read_quads(from, count, way);
}

std::string sentence(const ReadWay& way) {
  std::string text = fmt::format("{} stream{}", way.streams, way.streams == 1 ? "" : "s");
  if (way.ahead != 0) text += fmt::format(", prefetched {} bytes ahead", way.ahead);
  return text;
}

}  // namespace rapt::tools
