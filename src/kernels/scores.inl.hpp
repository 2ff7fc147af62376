// Scores: s[r][j] = sum over ascending d of q'[r][d] * k[j][d], for a row tile of queries and a
// column tile of keys.
#pragma once

#include "kernels/kernel_set.hpp"
#include "kernels/multiply_tile.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

template <int R>
struct ScoreTile {
  /// k: a panel at the column tile's first key. s: the row tile's scores; `j`: the first key in
  /// them. top: null, or a vector per row, kLanes floats apart, that collects the row's maximum,
  /// NaNs ignored.
  RAPT_NOINLINE static void run(const float* q, const float* k, std::int64_t head_dim,
                                std::int64_t j, float* s, float* top) {
    Vec acc[R][kVectors];
    clear(acc);
    multiply_tile<R, kVectors>(q, k, kPanel, 0, head_dim, acc);
    RAPT_UNROLL for (int c = 0; c < kVectors; ++c) {
      const std::int64_t key = j + c * kVecLanes;
      float* at = s + key / kLanes * kTileChunk + key % kLanes;
      RAPT_UNROLL for (int r = 0; r < R; ++r) store(at + r * kLanes, acc[r][c]);
    }
    if (top == nullptr) return;
    RAPT_UNROLL for (int r = 0; r < R; ++r) {
      Vec most = load(top + r * kLanes);
      RAPT_UNROLL for (int c = 0; c < kVectors; ++c) most = max_ignoring_nan(acc[r][c], most);
      store(top + r * kLanes, most);
    }
  }
};

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
