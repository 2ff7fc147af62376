// Block softmax: turns a row of scores of one key block into weights p_j = exp2(s_j - m), their
// maximum m and their sum l. A row is stored in a row tile: 16 keys per cache line, lines
// kTileChunk floats apart.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"
#include "kernels/vec/exp2.inl.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

constexpr int kLaneVectors = kLanes / kVecLanes;

/// Keys [begin, end) of a block.
struct KeyRange {
  std::int64_t begin, end;
};

RAPT_INLINE float* score_of(float* row, std::int64_t j) {
  return row + j / kLanes * kTileChunk + j % kLanes;
}

/// Max over the 16 virtual lanes: exact, so in any order.
RAPT_INLINE float reduce_max(Vec (&lanes)[kLaneVectors]) {
  RAPT_UNROLL for (int half = kLaneVectors / 2; half >= 1; half /= 2) {
    RAPT_UNROLL for (int i = 0; i < half; ++i) {
      lanes[i] = max_ignoring_nan(lanes[i], lanes[i + half]);
    }
  }
  return max_lanes(lanes[0]);
}

/// Sum over the 16 virtual lanes, pairwise 8, 4, 2, 1.
RAPT_INLINE float reduce_sum(Vec (&lanes)[kLaneVectors]) {
  RAPT_UNROLL for (int half = kLaneVectors / 2; half >= 1; half /= 2) {
    RAPT_UNROLL for (int i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
  }
  return sum_lanes(lanes[0]);
}

/// Sets scores outside `seen` to -inf, in the cache line of scores with key j.
RAPT_INLINE void hide_in_line(float* row, KeyRange seen, std::int64_t j) {
  const std::int64_t line = j / kLanes;
  for (int i = 0; i < kLaneVectors; ++i) {
    float* at = row + line * kTileChunk + i * kVecLanes;
    store(at, keep_lanes(load(at), line * kLanes + i * kVecLanes, seen.begin, seen.end,
                         Vec(-kInfinity)));
  }
}

/// Sets the weights in lines [first, last) to 0.
RAPT_INLINE void clear_lines(float* row, std::int64_t first, std::int64_t last) {
  for (std::int64_t line = first; line < last; ++line) {
    RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) {
      store(row + line * kTileChunk + i * kVecLanes, Vec(0.0f));
    }
  }
}

/// The cache lines that hold a range of keys.
struct LineRange {
  std::int64_t first, last;

  explicit LineRange(KeyRange keys)
      : first(keys.begin / kLanes), last((keys.end + kLanes - 1) / kLanes) {}
};

/// The maximum of the scores `seen`, NaNs ignored; -inf when there is none.
RAPT_INLINE float block_max(float* row, KeyRange seen) {
  if (seen.begin % kLanes != 0) hide_in_line(row, seen, seen.begin);
  if (seen.end % kLanes != 0) hide_in_line(row, seen, seen.end);
  const LineRange lines(seen);
  Vec lanes[kLaneVectors];
  RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) lanes[i] = Vec(-kInfinity);
  _Pragma("GCC unroll 4") for (std::int64_t line = lines.first; line < lines.last; ++line) {
    RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) {
      lanes[i] = max_ignoring_nan(load(row + line * kTileChunk + i * kVecLanes), lanes[i]);
    }
  }
  return reduce_max(lanes);
}

/// For a block without a finite maximum: empty, or with a NaN that must reach the row. Returns l.
inline float weights_without_maximum(float* row, KeyRange seen) {
  float l = 0.0f;
  for (std::int64_t j = seen.begin / kLanes * kLanes; j < seen.end || j % kLanes != 0; ++j) {
    float* s = score_of(row, j);
    if (*s == *s) {
      *s = 0.0f;
    } else {
      l = *s;
    }
  }
  return l;
}

/// After block_max() returned `m`: scores `seen` become weights, other scores in the lines of
/// `tile` become 0. Returns l.
RAPT_INLINE float block_weights(float* row, KeyRange seen, KeyRange tile, float m) {
  const LineRange lines(seen), all(tile);
  if (seen.begin == seen.end) {
    clear_lines(row, all.first, all.last);
    return 0.0f;
  }
  clear_lines(row, all.first, lines.first);
  clear_lines(row, lines.last, all.last);
  if (m == -kInfinity) return weights_without_maximum(row, seen);
  Vec lanes[kLaneVectors];
  RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) lanes[i] = Vec(0.0f);
  const Vec top(m);
  for (std::int64_t line = lines.first; line < lines.last; ++line) {
    RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) {
      float* at = row + line * kTileChunk + i * kVecLanes;
      const Vec p = exp2(load(at) - top);
      store(at, p);
      lanes[i] = lanes[i] + p;
    }
  }
  return reduce_sum(lanes);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
