// Scores of a decode-sized item from rows of K in place: kVecLanes neighbouring keys at a time,
// transposed in registers.
#pragma once

#include "kernels/abi/stream.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Scores of G vectors of keys from `key` on; as much is prefetched, line by line between the
/// columns: all lines at once, and reading does not overlap with computing (Zen 5, D1, one by one:
/// 0.89 of the time with AVX-512, 0.91 with AVX2).
template <int R, int G>
RAPT_INLINE void score_key_vectors(const KeyRowsArgs& args, std::int64_t key, RowsAhead& ahead) {
  constexpr int kLines = kVecLanes * kVecLanes / static_cast<int>(kLineFloats);
  constexpr int kColumnsPerLine = kVecLanes / (kLines > 0 ? kLines : kVecLanes);
  const float* const k = args.k + key * args.k_stride;
  Vec acc[R][G];
  clear(acc);
  for (std::int64_t d = 0; d < args.head_dim; d += kVecLanes) {
    const float* const q = args.q + d / kLanes * kTileChunk + d % kLanes;
    RAPT_UNROLL for (int g = 0; g < G; ++g) {
      Vec column[kVecLanes];
      load_transposed(k + g * kVecLanes * args.k_stride + d, args.k_stride, column);
      const float* const lines = ahead.template take<kLines>(k + d);
      RAPT_UNROLL for (int i = 0; i < kVecLanes; ++i) {
        if (kLines > 0 && i % kColumnsPerLine == 0) {
          __builtin_prefetch(lines + i / kColumnsPerLine * kLineFloats, 0, 3);
        }
        RAPT_UNROLL for (int r = 0; r < R; ++r) {
          acc[r][g] = fma(Vec(q[r * kLanes + i]), column[i], acc[r][g]);
        }
      }
    }
  }
  RAPT_UNROLL for (int g = 0; g < G; ++g) {
    float* const s = score_of(args.s, args.first + key + g * kVecLanes);
    RAPT_UNROLL for (int r = 0; r < R; ++r) store(s + r * kLanes, acc[r][g]);
  }
}

template <int R>
struct KeyRowScores {
  RAPT_NOINLINE static void run(const KeyRowsArgs& args, RowsAhead& ahead) {
    constexpr int G = R == 1 ? 4 : R == 2 ? 2 : 1;  // at least 4 chains, as each step waits for 4
    RowsAhead next = ahead;
    std::int64_t j = 0;
    for (; j + G * kVecLanes <= args.keys; j += G * kVecLanes)
      score_key_vectors<R, G>(args, j, next);
    for (; j < args.keys; j += kVecLanes) score_key_vectors<R, 1>(args, j, next);
    ahead = next;
  }
};

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
