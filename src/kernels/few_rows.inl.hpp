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

/// Whether keys are taken in groups of neighbours: they lie densely, whole groups from `first` on.
/// Larger groups than L1 holds beside what is touched lose to streams: with several rows beyond 12
/// KiB (head_dim 256, AVX-512, Zen 4: 1.07 to 1.12 of the time), with a single one beyond 4 KiB
/// (head_dim 128: 1.09; 64: 0.98, in the caches 0.82).
RAPT_INLINE bool takes_groups(std::int64_t rows, std::int64_t k_stride, std::int64_t head_dim,
                              std::int64_t first) {
  if (k_stride != head_dim || first % kVecLanes != 0) return false;
  return kVecLanes * head_dim <= (rows > 1 ? 3072 : 1024);
}

/// Scores of keys that lie densely, kVecLanes neighbours at a time, while the next ones are
/// touched.
template <int R>
struct KeyGroups {
  /// q: the row tile. k: the first key. s: the row tile's scores from the first key on, which is a
  /// multiple of kVecLanes.
  RAPT_NOINLINE static void run(const float* q, const float* k, std::int64_t groups,
                                std::int64_t head_dim, float* s, std::int64_t first_key) {
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
  RAPT_NOINLINE static void run(const float* q, const float* k, std::int64_t k_stride,
                                std::int64_t keys, std::int64_t head_dim, float* s) {
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

// A run is what is read of a row of V before the next row: all of it, or as many vectors as half
// the registers hold sums of. Sums of as many rows as there is room for are computed at a time;
// further rows find the chunk in L1.
constexpr int kRunVectors = kRegisters / 2;
constexpr std::int64_t kRunFloats = std::int64_t{kRunVectors} * kVecLanes;
constexpr int kRunSums = kVecLanes == 16 ? kRegisters * 3 / 4 : kRegisters / 2;
constexpr int kMostRunRows = 4;

/// How V is read. Chunks are few enough keys that the prefetchers, which run a few KiB ahead, go on
/// reading while further rows use them. Rows that are longer than a run they do not follow: who
/// reads V in runs asks for it, unless a single row and two runs are faster without (Zen 4, AVX2,
/// of the time without asking: 4 rows of head_dim 128 0.77, 3 rows 0.71, 2 rows 0.92, a single row
/// 1.11; a single row of head_dim 256 0.70).
struct ValueChunks {
  std::int64_t keys;   // of a chunk: a divisor of kLanes, whose weights share a line
  std::int64_t ahead;  // keys from what is read to what is asked for; 0: nothing is

  ValueChunks(std::int64_t rows, std::int64_t value_dim) {
    constexpr std::int64_t kChunkFloats = 1024, kLongRowKeys = 4;
    const bool whole_rows = value_dim <= kRunFloats;
    const bool once = whole_rows && rows * value_dim <= kRunSums * kVecLanes;
    keys = once ? kLanes : whole_rows ? chunk_of(kChunkFloats / value_dim) : kLongRowKeys;
    const bool follows = whole_rows || (rows == 1 && value_dim <= 2 * kRunFloats);
    ahead = follows ? 0 : kLongRowsAhead;
  }

  static constexpr std::int64_t kLongRowsAhead = 16;

 private:
  /// The largest divisor of kLanes up to `keys`.
  static std::int64_t chunk_of(std::int64_t keys) {
    std::int64_t chunk = kLanes;
    while (chunk > 1 && chunk > keys) chunk /= 2;
    return chunk;
  }
};

/// A few keys of a block and what they add to.
struct ValueChunk {
  const float* weights;  // of row 0
  const float* v;
  std::int64_t v_stride, keys;
  float* sums;  // [rows][sums_stride], what the keys before gave
  std::int64_t sums_stride;
  bool first, last;
  std::int64_t ahead;  // as ValueChunks has it
};

/// G rows times C vectors from column c on, asking for what is further on or not.
template <int G, int C, bool Asks>
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
    if (Asks && row == 0) {
      const float* ahead = v + chunk.ahead * chunk.v_stride;
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

/// All rows times C vectors from column c on.
template <int C>
RAPT_INLINE void add_run(const ValueChunk& chunk, std::int64_t rows, std::int64_t c,
                         const FoldInto& fold) {
  constexpr int kRoom = kRunSums / C;
  constexpr int kTogether = kRoom > kMostRunRows ? kMostRunRows : kRoom;
  std::int64_t row = 0;
  if (chunk.ahead != 0) {
    for (; row < rows; ++row) add_chunk<1, C, true>(chunk, row, c, fold);
    return;
  }
  for (; row + kTogether <= rows; row += kTogether) {
    add_chunk<kTogether, C, false>(chunk, row, c, fold);
  }
  if constexpr (kTogether > 2) {
    for (; row + 2 <= rows; row += 2) add_chunk<2, C, false>(chunk, row, c, fold);
  }
  if constexpr (kTogether > 1) {
    for (; row < rows; ++row) add_chunk<1, C, false>(chunk, row, c, fold);
  }
}

/// Weighted values of few rows, V as it lies: keys in chunks, and every row of V from end to end;
/// half a row of each key and then the other half no prefetcher follows. value_dim is Rest vectors
/// beyond a whole number of runs. Out of line, with all that a chunk of few steps needs inlined: a
/// call for each of them cost a quarter of the time (D1, AVX2).
template <int Rest>
struct FewRowsValues {
  /// p: the row tile's weights. v: key `first` of the keys [first, last) of the block.
  RAPT_NOINLINE static void run(const float* p, const float* v, std::int64_t v_stride,
                                std::int64_t first, std::int64_t last, std::int64_t rows,
                                std::int64_t value_dim, float* sums, const FoldInto& fold) {
    const ValueChunks chunks(rows, value_dim);
    for (std::int64_t j = first; j < last;) {
      const std::int64_t chunk_end = j / chunks.keys * chunks.keys + chunks.keys;
      const std::int64_t stop = chunk_end < last ? chunk_end : last;
      const ValueChunk chunk{p + j / kLanes * kTileChunk + j % kLanes,
                             v + (j - first) * v_stride,
                             v_stride,
                             stop - j,
                             sums,
                             value_dim,
                             j == first,
                             stop == last,
                             chunks.ahead};
      if (v_stride == value_dim) ask_for_border(chunk.v, chunk.keys * value_dim);
      std::int64_t c = 0;
      for (; c + kRunFloats <= value_dim; c += kRunFloats) {
        add_run<kRunVectors>(chunk, rows, c, fold);
      }
      if constexpr (Rest > 0) add_run<Rest>(chunk, rows, c, fold);
      j = stop;
    }
  }
};

/// value_dim is a multiple of kVecLanes.
template <int Rest = kRunVectors - 1, class... Arguments>
RAPT_INLINE void few_rows_values(std::int64_t value_dim, Arguments&&... arguments) {
  if constexpr (Rest > 0) {
    if (value_dim / kVecLanes % kRunVectors != Rest) {
      return few_rows_values<Rest - 1>(value_dim, arguments...);
    }
  }
  FewRowsValues<Rest>::run(arguments...);
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
  constexpr std::int64_t kRowsAhead = kVecLanes == 8 ? 16 : 8;
  for (std::int64_t j = 0; j < count && j < kRowsAhead; ++j) {
    for (std::int64_t c = 0; c < value_dim; c += kLineFloats) {
      __builtin_prefetch(v + j * v_stride + c, 0, 2);
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
