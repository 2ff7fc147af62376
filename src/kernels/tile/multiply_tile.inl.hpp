// The register tile of scores, weighted values and linear: R rows x C vectors of multiply-add
// chains, each over ascending k.
#pragma once

#include "kernels/tile/read_ahead.inl.hpp"
#include "kernels/tile/tiles.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// A row tile holds kRows rows of left-hand factors as [k / 16][row][k % 16]: dense, in whole cache
/// lines, and addressed from one pointer with constant displacements for all rows.
constexpr std::int64_t kTileChunk = kRows * kLanes;

/// Floats of a row tile of depth k.
RAPT_INLINE std::int64_t tile_floats(std::int64_t depth) {
  return (depth + kLanes - 1) / kLanes * kTileChunk;
}

/// One step of every chain: acc[r][c] = fma(a[r * kLanes], b[c * kVecLanes ...], acc[r][c]).
/// b may be of any type that load() widens.
template <int R, int C, class T>
RAPT_INLINE void multiply_step(const float* a, const T* b, Vec (&acc)[R][C]) {
  if constexpr (R == 1) {  // each column is used once: no registers for all of them
    const Vec row(a[0]);
    RAPT_UNROLL for (int c = 0; c < C; ++c) acc[0][c] =
        fma(row, load(b + c * kVecLanes), acc[0][c]);
    return;
  }
  Vec column[C];
  RAPT_UNROLL for (int c = 0; c < C; ++c) column[c] = load(b + c * kVecLanes);
  RAPT_UNROLL for (int r = 0; r < R; ++r) {
    const Vec row(a[r * kLanes]);
    RAPT_UNROLL for (int c = 0; c < C; ++c) acc[r][c] = fma(row, column[c], acc[r][c]);
  }
}

/// One step of every chain with factors that are already loaded: those in lane `Lane`.
template <int Lane, int R, int C, class T>
RAPT_INLINE void multiply_lane(const Vec (&factors)[R], const T* b, Vec (&acc)[R][C]) {
  Vec column[C];
  RAPT_UNROLL for (int c = 0; c < C; ++c) column[c] = load(b + c * kVecLanes);
  RAPT_UNROLL for (int r = 0; r < R; ++r) {
    RAPT_UNROLL for (int c = 0; c < C; ++c) {
      acc[r][c] = fma_lane<Lane>(column[c], factors[r], acc[r][c]);
    }
  }
}

static_assert(!kHasFmaLane || kRows * kVectors + kVectors + kRows <= kRegisters);

/// The steps of one chunk of kLanes factors. If a multiply-add can take a lane of a vector, each
/// row's factors are loaded four at a time without broadcasts: R C + R + C registers, and for 8 x 2
/// 16 loads per 64 multiply-adds instead of 40 (NEON by llvm-mca: docs/kernels.md).
template <int R, int C, class T, class Ahead = NoReadAhead>
RAPT_INLINE const T* multiply_chunk(const float* a, const T* b, std::int64_t b_stride,
                                    Vec (&acc)[R][C], Ahead&& ahead = {}) {
  if constexpr (kHasFmaLane) {
    for (int k = 0; k < kLanes; k += 4, b += 4 * b_stride) {
      Vec factors[R];
      RAPT_UNROLL for (int r = 0; r < R; ++r) factors[r] = load(a + r * kLanes + k);
      ahead.template step<4 * C>();
      multiply_lane<0>(factors, b, acc);
      multiply_lane<1>(factors, b + b_stride, acc);
      multiply_lane<2>(factors, b + 2 * b_stride, acc);
      multiply_lane<3>(factors, b + 3 * b_stride, acc);
    }
  } else {
    for (int k = 0; k < kLanes; ++k, b += b_stride) {
      ahead.template step<C>();
      multiply_step(a + k, b, acc);
    }
  }
  return b;
}

/// acc[r][c] = fma chain over k in [first, last) of (a(r, k), b[(k - first) * b_stride + c *
/// kVecLanes ...]), starting from acc.
template <int R, int C, class T, class Ahead = NoReadAhead>
RAPT_INLINE void multiply_tile(const float* a, const T* b, std::int64_t b_stride,
                               std::int64_t first, std::int64_t last, Vec (&acc)[R][C],
                               Ahead&& ahead = {}) {
  a += first / kLanes * kTileChunk;
  if (first % kLanes != 0) {
    const std::int64_t line = first / kLanes * kLanes;
    const std::int64_t stop = last - line < kLanes ? last - line : kLanes;
    for (std::int64_t k = first % kLanes; k < stop; ++k, b += b_stride) {
      ahead.template step<C>();
      multiply_step(a + k, b, acc);
    }
    a += kTileChunk;
    first = line + kLanes;
  }
  // A compile-time trip count: with a variable one this loop lost 15 % (AVX-512, g++ 12).
  for (; first + kLanes <= last; first += kLanes, a += kTileChunk) {
    ahead.chunk();
    b = multiply_chunk(a, b, b_stride, acc, ahead);
  }
  for (std::int64_t k = 0; k < last - first; ++k, b += b_stride) {
    ahead.template step<C>();
    multiply_step(a + k, b, acc);
  }
}

template <int R, int C>
RAPT_INLINE void clear(Vec (&acc)[R][C]) {
  RAPT_UNROLL for (int r = 0; r < R; ++r) {
    RAPT_UNROLL for (int c = 0; c < C; ++c) acc[r][c] = Vec(0.0f);
  }
}

/// Calls Kernel<rows>::run(arguments...) for a run-time number of rows.
template <template <int> class Kernel, int R = kRows, class... Arguments>
RAPT_INLINE void with_rows(std::int64_t rows, Arguments&&... arguments) {
  if constexpr (R == 1) {
    Kernel<1>::run(arguments...);
  } else {
    if (rows == R) return Kernel<R>::run(arguments...);
    with_rows<Kernel, R - 1>(rows, arguments...);
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
