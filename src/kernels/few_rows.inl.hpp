// Few rows against many keys, as in decoding: bound by reading K and V, which is fastest where the
// processor's own prefetchers see streams that ascend line by line. So K is transposed in
// registers, each vector lane on a stretch of keys of its own, and V is read row by row from end to
// end.
#pragma once

#include "kernels/multiply_tile.inl.hpp"
#include "kernels/prefetch.inl.hpp"
#include "kernels/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The processor's prefetchers stop at the end of a page of memory and find the next one late: who
/// is about to read `floats` floats from p on, and goes on behind them, asks for the first lines of
/// a page that begins a little further on.
RAPT_INLINE void ask_for_border(const float* p, std::int64_t floats) {
  constexpr std::uintptr_t kAhead = 2048, kPage = 4096;
  constexpr int kLines = 4;
  const std::uintptr_t from = reinterpret_cast<std::uintptr_t>(p) + kAhead;
  const std::uintptr_t border = (from + kPage - 1) / kPage * kPage;
  if (border >= from + static_cast<std::uintptr_t>(floats) * sizeof(float)) return;
  const float* const line = reinterpret_cast<const float*>(border);
  for (int i = 0; i < kLines; ++i) __builtin_prefetch(line + i * kLineFloats, 0, 2);
}

/// Loads one word of a line and waits for nothing: a stream that is read line by line ahead of its
/// use, as a loop would that does nothing but read.
RAPT_INLINE void touch(const float* line) {
  using Word = std::int32_t __attribute__((may_alias));
  static_cast<void>(*reinterpret_cast<const volatile Word*>(line));
}

// With a single row and AVX-512 the streams are faster (D1 with 1 row a kv head, Zen 4: 0.79 of the
// read bandwidth, groups 0.73).
constexpr std::int64_t kGroupRows = kVecLanes == 16 ? 2 : 1;

/// Scores of keys that lie densely, kVecLanes neighbours at a time, while the next ones are
/// touched.
template <int R>
struct KeyGroups {
  /// q: the row tile. k: the first key. s: the row tile's scores from the first key on, which is a
  /// multiple of kVecLanes.
  static void run(const float* q, const float* k, std::int64_t groups, std::int64_t head_dim,
                  float* s, std::int64_t first_key) {
    const std::int64_t group = kVecLanes * head_dim;
    for (std::int64_t i = 0; i < group; i += kLineFloats) touch(k + i);
    for (std::int64_t g = 0; g < groups; ++g, k += group) {
      const float* next = g + 1 < groups ? k + group : k;
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
      float* const at = score_of(s, first_key + g * kVecLanes);
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
  static void run(const float* q, const float* k, std::int64_t k_stride, std::int64_t keys,
                  std::int64_t head_dim, float* s) {
    const std::int64_t lane_stride = keys * k_stride;
    const bool dense = k_stride == head_dim;
    for (std::int64_t j = 0; j < keys; ++j, k += k_stride, s += R * kVecLanes) {
      Vec acc[R][1];
      clear(acc);
      for (int i = 0; dense && i < kVecLanes; ++i) {
        ask_for_border(k + i * lane_stride, head_dim);
      }
      for (std::int64_t d = 0; d < head_dim; d += kVecLanes) {
        Vec column[kVecLanes];
        load_transposed(k + d, lane_stride, column);
        const float* row = q + d / kLanes * kTileChunk + d % kLanes;
        RAPT_UNROLL for (int i = 0; i < kVecLanes; ++i) {
          RAPT_UNROLL for (int r = 0; r < R; ++r) {
            acc[r][0] = fma(Vec(row[r * kLanes + i]), column[i], acc[r][0]);
          }
        }
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

// Keys of a chunk: few enough that the prefetchers, which run a few KiB ahead, go on reading while
// further rows use the chunk; a divisor of kLanes, whose weights share a line. With AVX2 the first
// row has too few multiply-adds to keep the prefetchers going: it asks for V itself (D1, Zen 4:
// 0.65 of the read bandwidth instead of 0.55).
#if defined(RAPT_KERNEL_ISA_AVX2)
constexpr std::int64_t kChunkKeys = 4, kValuesAhead = 16;
#else
constexpr std::int64_t kChunkKeys = 8, kValuesAhead = 0;
#endif
static_assert(kLanes % kChunkKeys == 0);

// A run is what is read of a row of V before the next row: 512 bytes, or all registers of the ISA.
// Its sums for kRunRows rows at a time are in registers; further rows find the chunk in L1.
constexpr int kRunVectors = kRegisters / 2 < 128 / kVecLanes ? kRegisters / 2 : 128 / kVecLanes;
constexpr int kRunRows = kRegisters / 2 / kRunVectors > 2 ? 2 : kRegisters / 2 / kRunVectors;

/// A few keys of a block and what they add to.
struct ValueChunk {
  const float* weights;  // of row 0
  const float* v;
  std::int64_t v_stride, keys;
  float* sums;  // [rows][sums_stride], what the keys before gave
  std::int64_t sums_stride;
  bool first, last;
};

/// G rows times C vectors from column c on.
template <int G, int C>
RAPT_INLINE void add_chunk(const ValueChunk& chunk, std::int64_t row, std::int64_t c,
                           const FoldInto& fold) {
  Vec acc[G][C];
  float* sums = chunk.sums + row * chunk.sums_stride + c;
  clear(acc);
  if (!chunk.first) {
    RAPT_UNROLL for (int r = 0; r < G; ++r) {
      RAPT_UNROLL for (int i = 0; i < C; ++i) {
        acc[r][i] = load(sums + r * chunk.sums_stride + i * kVecLanes);
      }
    }
  }
  const float* weights = chunk.weights + row * kLanes;
  const float* v = chunk.v + c;
  for (std::int64_t j = 0; j < chunk.keys; ++j, v += chunk.v_stride) {
    multiply_step<G, C>(weights + j, v, acc);
    if (kValuesAhead > 0 && row == 0) {
      const float* ahead = v + kValuesAhead * chunk.v_stride;
      for (int i = 0; i < C * kVecLanes; i += kLineFloats) __builtin_prefetch(ahead + i, 0, 2);
    }
  }
  if (chunk.last) {
    const FoldInto rows{fold.a + row, fold.b + row, fold.o + row * fold.o_stride, fold.o_stride};
    return fold_tile<G, C>(rows, c, acc);
  }
  RAPT_UNROLL for (int r = 0; r < G; ++r) {
    RAPT_UNROLL for (int i = 0; i < C; ++i) {
      store(sums + r * chunk.sums_stride + i * kVecLanes, acc[r][i]);
    }
  }
}

/// All rows times `vectors` <= C vectors from column c on.
template <int C = kRunVectors>
inline void add_run(const ValueChunk& chunk, std::int64_t rows, std::int64_t c,
                    std::int64_t vectors, const FoldInto& fold) {
  if constexpr (C > 1) {
    if (vectors != C) return add_run<C - 1>(chunk, rows, c, vectors, fold);
  }
  std::int64_t row = 0;
  for (; row + kRunRows <= rows; row += kRunRows) add_chunk<kRunRows, C>(chunk, row, c, fold);
  if (row < rows) add_chunk<1, C>(chunk, row, c, fold);
}

/// Weighted values of few rows, V as it lies: keys in chunks, and every row of V from end to end;
/// half a row of each key and then the other half no prefetcher follows. value_dim is a multiple of
/// kVecLanes. value_row(j) is where the values of key j lie; those of a chunk are v_stride apart.
template <class ValueRow>
RAPT_INLINE void few_rows_values(const float* p, const ValueRow& value_row, std::int64_t v_stride,
                                 std::int64_t first, std::int64_t last, std::int64_t rows,
                                 std::int64_t value_dim, float* sums, const FoldInto& fold) {
  // Short chunks are for further rows and for further runs of a row of V.
  const bool once = rows <= kRunRows && value_dim <= kRunVectors * kVecLanes;
  const std::int64_t chunk_keys = once ? kLanes : kChunkKeys;
  for (std::int64_t j = first; j < last;) {
    const std::int64_t chunk_end = j / chunk_keys * chunk_keys + chunk_keys;
    const std::int64_t stop = chunk_end < last ? chunk_end : last;
    const ValueChunk chunk{p + j / kLanes * kTileChunk + j % kLanes,
                           value_row(j),
                           v_stride,
                           stop - j,
                           sums,
                           value_dim,
                           j == first,
                           stop == last};
    if (v_stride == value_dim) ask_for_border(chunk.v, chunk.keys * value_dim);
    for (std::int64_t c = 0; c < value_dim; c += kRunVectors * kVecLanes) {
      const std::int64_t vectors = (value_dim - c) / kVecLanes;
      add_run(chunk, rows, c, vectors < kRunVectors ? vectors : kRunVectors, fold);
    }
    j = stop;
  }
}

/// The first lines of each lane's keys in a block, while what comes before is still computed.
inline void start_keys(const float* k, std::int64_t k_stride, std::int64_t count) {
  constexpr std::int64_t kLines = 4;
  const std::int64_t lane_stride = keys_of_lane(count) * k_stride;
  for (int i = 0; i < kVecLanes; ++i) {
    for (std::int64_t line = 0; line < kLines; ++line) {
      __builtin_prefetch(k + i * lane_stride + line * kLineFloats, 0, 2);
    }
  }
}

/// The first rows of V, likewise.
inline void start_values(const float* v, std::int64_t v_stride, std::int64_t count,
                         std::int64_t value_dim) {
  constexpr std::int64_t kRowsAhead = kValuesAhead > 8 ? kValuesAhead : 8;
  for (std::int64_t j = 0; j < count && j < kRowsAhead; ++j) {
    for (std::int64_t c = 0; c < value_dim; c += kLineFloats) {
      __builtin_prefetch(v + j * v_stride + c, 0, 2);
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
