// The decode path's scores from rows of K in place. They are bound by reading, which is fastest
// where the hardware prefetchers see one stream that ascends line by line. K is transposed in
// registers.
#pragma once

#include "kernels/prefill/prefetch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Whether keys are processed in groups of neighbours: they are dense, whole groups from `first`
/// on, and two groups of up to 12 KiB leave room in L1 (16 KiB do not: head_dim 256, AVX-512, 4
/// rows, Zen 4: 1.4 of the time).
RAPT_INLINE bool takes_groups(std::int64_t k_stride, std::int64_t head_dim, std::int64_t first) {
  return k_stride == head_dim && first % kVecLanes == 0 && kVecLanes * head_dim <= 3072;
}

/// Adds columns [d, d + kVecLanes) of kVecLanes keys, transposed, times those of the row tile's
/// queries.
template <int R>
RAPT_INLINE void multiply_columns(const float* q, std::int64_t d, const Vec (&column)[kVecLanes],
                                  Vec (&acc)[R][1]) {
  const float* row = q + d / kLanes * kTileChunk + d % kLanes;
  RAPT_UNROLL for (int i = 0; i < kVecLanes; ++i) {
    RAPT_UNROLL for (int r = 0; r < R; ++r) {
      acc[r][0] = fma(Vec(row[r * kLanes + i]), column[i], acc[r][0]);
    }
  }
}

/// Scores of dense keys, kVecLanes neighbours at a time, while the next ones are loaded.
template <int R>
struct KeyGroups {
  /// q: the row tile. k: the first key. s: the row tile's scores from key `first` on, which is a
  /// multiple of kVecLanes. after: what is loaded beside the last group, as many floats as a group
  /// has.
  RAPT_NOINLINE static void run(const float* q, const float* k, std::int64_t groups,
                                std::int64_t head_dim, float* s, std::int64_t first,
                                const float* after) {
    const std::int64_t group = kVecLanes * head_dim;
    for (std::int64_t g = 0; g < groups; ++g, k += group) {
      const float* next = g + 1 < groups ? k + group : after;
      Vec acc[R][1];
      clear(acc);
      for (std::int64_t d = 0; d < head_dim; d += kVecLanes, next += kVecLanes * kVecLanes) {
        Vec column[kVecLanes];
        load_transposed(k + d, head_dim, column);
        const float* row = q + d / kLanes * kTileChunk + d % kLanes;
        RAPT_UNROLL for (int i = 0; i < kVecLanes; ++i) {
          if (i * kVecLanes % kLineFloats == 0) touch(next + i * kVecLanes);
          RAPT_UNROLL for (int r = 0; r < R; ++r) {
            acc[r][0] = fma(Vec(row[r * kLanes + i]), column[i], acc[r][0]);
          }
        }
      }
      float* const at = score_of(s, first + g * kVecLanes);
      RAPT_UNROLL for (int r = 0; r < R; ++r) store(at + r * kLanes, acc[r][0]);
    }
  }
};

/// Keys that each vector lane takes of `count`.
RAPT_INLINE std::int64_t keys_of_lane(std::int64_t count) { return count / kVecLanes; }

/// Scores of kVecLanes * keys keys that lie as rows of memory. Lane i takes keys [i * keys, (i + 1)
/// * keys), one after the other. Neighbouring keys in the lanes, so that memory is read a line here
/// and a line a row further on, reached half the bandwidth.
template <int R>
struct KeyStreams {
  /// q: the row tile. k: the first key. s: [key of the lane][R][kVecLanes]. head_dim is a multiple
  /// of kVecLanes.
  RAPT_NOINLINE static void run(const float* q, const float* k, std::int64_t k_stride,
                                std::int64_t keys, std::int64_t head_dim, float* s) {
    const std::int64_t lane_stride = keys * k_stride;
    for (std::int64_t j = 0; j < keys; ++j, k += k_stride, s += R * kVecLanes) {
      Vec acc[R][1];
      clear(acc);
      for (std::int64_t d = 0; d < head_dim; d += kVecLanes) {
        Vec column[kVecLanes];
        load_transposed(k + d, lane_stride, column);
        for (int i = 0; d % kLineFloats == 0 && i < kVecLanes; ++i) {
          __builtin_prefetch(k + i * lane_stride + k_stride + d, 0, 2);
        }
        multiply_columns(q, d, column, acc);
      }
      RAPT_UNROLL for (int r = 0; r < R; ++r) store(s + r * kVecLanes, acc[r][0]);
    }
  }
};

/// What KeyStreams computed, into a row tile of scores from key `first` on.
inline void store_streams(const float* streams, std::int64_t rows, std::int64_t keys,
                          std::int64_t first, float* s) {
  const std::int64_t stride = rows * kVecLanes;
  for (std::int64_t r = 0; r < rows; ++r, streams += kVecLanes, s += kLanes) {
    if (first % kVecLanes == 0 && keys % kVecLanes == 0) {
      for (std::int64_t j = 0; j < keys; j += kVecLanes) {
        Vec lane[kVecLanes];
        load_transposed(streams + j * stride, stride, lane);
        RAPT_UNROLL for (int i = 0; i < kVecLanes; ++i) {
          store(score_of(s, first + i * keys + j), lane[i]);
        }
      }
      continue;
    }
    for (std::int64_t j = 0; j < keys; ++j) {
      for (int i = 0; i < kVecLanes; ++i) {
        *score_of(s, first + i * keys + j) = streams[j * stride + i];
      }
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
