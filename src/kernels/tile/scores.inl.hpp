// Scores: s[r][j] = sum over ascending d of q'[r][d] * k[j][d], for a row tile of queries and a
// column tile of keys.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// R rows x C vectors of keys. k: a panel at the first key. s: the row tile's scores. j: the first
/// key's index in s. top: null, or one vector per row, kLanes floats apart, that collects the row's
/// maximum, NaNs ignored.
template <int R, int C>
RAPT_INLINE void score_tile(const float* q, const float* k, std::int64_t head_dim, std::int64_t j,
                            float* s, float* top) {
  Vec acc[R][C];
  clear(acc);
  multiply_tile(q, k, kPanel, 0, head_dim, acc);
  RAPT_UNROLL for (int c = 0; c < C; ++c) {
    const std::int64_t key = j + c * kVecLanes;
    float* at = s + key / kLanes * kTileChunk + key % kLanes;
    RAPT_UNROLL for (int r = 0; r < R; ++r) store(at + r * kLanes, acc[r][c]);
  }
  if (top == nullptr) return;
  RAPT_UNROLL for (int r = 0; r < R; ++r) {
    Vec most = load(top + r * kLanes);
    RAPT_UNROLL for (int c = 0; c < C; ++c) most = max_ignoring_nan(acc[r][c], most);
    store(top + r * kLanes, most);
  }
}

template <int R>
struct ScoreTile {
  RAPT_NOINLINE static void run(const float* q, const float* k, std::int64_t head_dim,
                                std::int64_t j, float* s, float* top) {
    score_tile<R, kVectors>(q, k, head_dim, j, s, top);
  }
};

/// Scores of one of a column tile's two vectors of keys, see Shape::half_score_tiles.
template <int R>
struct ScoreVector {
  RAPT_NOINLINE static void run(const float* q, const float* k, std::int64_t head_dim,
                                std::int64_t j, float* s) {
    score_tile<R, 1>(q, k, head_dim, j, s, nullptr);
  }
};

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
