// The decode path's weighted values from rows of V in place. V is streamed in address order: the
// first strip of columns also loads the rest of each row, so that later strips hit L1.
#pragma once

#include "kernels/prefill/prefetch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"
#include "kernels/tile/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Rows whose sums are computed at a time.
constexpr int kSumRows = 4;

/// Vectors of a strip of columns of V for so many query rows: their sums stay in registers.
/// With 2 and 3 rows there is none left for a column: g++ takes it from memory for each row.
constexpr int part_vectors(int rows) {
  if (kRegisters == 32) return rows == 1 ? 16 : rows <= 3 ? 8 : 4;
  return rows == 1 ? 8 : rows == 2 ? 6 : rows == 3 ? 4 : 3;
}

/// What the last part may have: 5 or 6 rather than 4 and 1 or 2 (AVX-512, 4 rows of head_dim 80:
/// 0.93).
constexpr int last_part_vectors(int rows) {
  return kRegisters == 32 && rows > 3 ? 6 : part_vectors(rows);
}

/// How rows of V are read. A dense row of more than a strip is processed in chunks of keys, few
/// enough that the hardware prefetchers, which run a few KiB ahead, continue while further strips
/// find the chunk in L1. Beyond 512 bytes they do not, and lines are prefetched some keys ahead
/// (Zen 4, 4 rows of head_dim 512, of the time with demand loads: 0.70 with AVX-512, 0.54 with
/// AVX2; of 256: 0.97, 0.87). So are rows that are far apart (8 adjacent kv heads, head_dim 128:
/// 0.79, 0.83).
struct ValueReading {
  std::int64_t keys;     // of a chunk: a divisor of kLanes, whose weights share a line
  std::int64_t touched;  // floats of a row up to which the first strip loads it
  std::int64_t ahead;    // keys from what is read to what is prefetched; 0: nothing is

  ValueReading(std::int64_t value_dim, std::int64_t v_stride, bool one_part)
      : keys(kLanes), touched(0), ahead(0) {
    constexpr std::int64_t kChunkFloats = 1024, kTouchedFloats = 128;
    if (v_stride != value_dim) {
      ahead = 32;
      return;
    }
    if (one_part) return;
    if (value_dim > kTouchedFloats) {
      keys = 4;
      ahead = 16;
      return;
    }
    while (keys * value_dim > kChunkFloats) keys /= 2;
    touched = value_dim;
  }
};

/// A block of keys whose values are wanted.
struct ValueBlock {
  const float* p;  // the row tile's weights
  const float* v;  // of the first of the keys
  KeyRange keys;
  const float* a;  // how the block is folded, per row
  const float* b;
};

/// Some keys of a block, and what they add to.
struct ValueChunk {
  const float* weights;  // of row 0
  const float* v;
  std::int64_t v_stride, keys;
  bool first, last;  // of the block
  FoldInto fold;
};

/// Adds a chunk to sums[G][C], those of G rows and C vectors; the last one folds them. Calls
/// beside(v) with each row of V: what is to be read meanwhile.
template <int G, int C, class F>
RAPT_INLINE void add_chunk(const ValueChunk& chunk, float* sums, const F& beside) {
  Vec acc[G][C];
  clear(acc);
  if (!chunk.first) {
    RAPT_UNROLL for (int r = 0; r < G; ++r) {
      RAPT_UNROLL for (int i = 0; i < C; ++i) acc[r][i] = load(sums + (r * C + i) * kVecLanes);
    }
  }
  const float* v = chunk.v;
  const float* const end = chunk.weights + chunk.keys;
  for (const float* weight = chunk.weights; weight != end; ++weight, v += chunk.v_stride) {
    multiply_step<G, C>(weight, v, acc);
    beside(v);
  }
  if (chunk.last) return fold_tile<G, C>(chunk.fold, 0, acc);
  RAPT_UNROLL for (int r = 0; r < G; ++r) {
    RAPT_UNROLL for (int i = 0; i < C; ++i) store(sums + (r * C + i) * kVecLanes, acc[r][i]);
  }
}

/// The same for R rows, beside() with the first of them.
template <int R, int C, class F>
RAPT_INLINE void add_chunk_to_rows(ValueChunk chunk, float* sums, const F& beside) {
  constexpr int kTogether = R < kSumRows ? R : kSumRows;
  add_chunk<kTogether, C>(chunk, sums, beside);
  if constexpr (R > kTogether) {
    chunk.weights += kTogether * kLanes;
    chunk.fold.a += kTogether;
    chunk.fold.b += kTogether;
    chunk.fold.o += kTogether * chunk.fold.o_stride;
    add_chunk_to_rows<R - kTogether, C>(chunk, sums + kTogether * C * kVecLanes,
                                        [](const float*) {});
  }
}

/// A number of vectors as a type.
template <int C>
struct Vectors {
  static constexpr int count = C;
};

/// Calls use(Vectors<C>(), c) for a part of `vectors` vectors, up to C.
template <int C, class F>
RAPT_INLINE void with_vectors(std::int64_t vectors, const F& use, std::int64_t c) {
  if constexpr (C > 0) {
    if (vectors == C) return use(Vectors<C>(), c);
    with_vectors<C - 1>(vectors, use, c);
  }
}

/// Calls use(Vectors<C>(), c) for each strip of columns of V for R query rows.
template <int R, class F>
RAPT_INLINE void for_parts(std::int64_t value_dim, const F& use) {
  constexpr int kPart = part_vectors(R), kLast = last_part_vectors(R);
  std::int64_t c = 0;
  for (; value_dim - c > kLast * kVecLanes; c += kPart * kVecLanes) use(Vectors<kPart>(), c);
  with_vectors<kLast>((value_dim - c) / kVecLanes, use, c);
}

/// Floats up to which a dense row of V that is one strip needs nothing but its multiply-adds.
/// (A row of 128: 1.11 of the time of chunks from memory, AVX-512.)
constexpr std::int64_t kShortRow = 64;

/// Blocks whose rows of V are dense, short and one part.
template <int R, int C>
RAPT_INLINE void add_dense_blocks(const ValueBlock* blocks, std::int64_t count, float* o,
                                  std::int64_t o_stride) {
  for (const ValueBlock* block = blocks; block != blocks + count; ++block) {
    Vec acc[R][C];
    clear(acc);
    multiply_tile<R, C>(block->p, block->v, C * kVecLanes, block->keys.begin, block->keys.end, acc);
    fold_tile<R, C>({block->a, block->b, o, o_stride}, 0, acc);
  }
}

/// Out of line, with all that a chunk of few steps needs inlined: a call for each of them cost a
/// quarter of the time (D1, AVX2). All blocks of a batch in one call: work between two
/// blocks keeps the next loads from being issued early (D1, AVX-512: 0.07 of the time of V).
template <int R>
struct StreamValues {
  /// sums: [R][value_dim] floats of scratch. o: the running output. value_dim is a multiple of
  /// kVecLanes.
  RAPT_NOINLINE static void run(const ValueBlock* blocks, std::int64_t count, std::int64_t v_stride,
                                std::int64_t value_dim, float* sums, float* o,
                                std::int64_t o_stride) {
    constexpr std::int64_t kOnePart = R <= kSumRows ? last_part_vectors(R) * kVecLanes : 0;
    constexpr int kShort = (kOnePart < kShortRow ? kOnePart : kShortRow) / kVecLanes;
    if constexpr (kShort > 0) {
      if (v_stride == value_dim && value_dim <= kShort * kVecLanes) {
        return with_vectors<kShort>(
            value_dim / kVecLanes,
            [&](auto vectors, std::int64_t) __attribute__((always_inline)) {
              add_dense_blocks<R, decltype(vectors)::count>(blocks, count, o, o_stride);
            },
            0);
      }
    }
    const ValueReading reading(value_dim, v_stride, value_dim <= kOnePart);
    const std::int64_t ahead = reading.ahead * v_stride;
    for (const ValueBlock* block = blocks; block != blocks + count; ++block) {
      const float* v = block->v;
      const KeyRange keys = block->keys;
      for (std::int64_t j = keys.begin; j < keys.end;) {
        const std::int64_t chunk_end = (j & -reading.keys) + reading.keys;
        const std::int64_t stop = chunk_end < keys.end ? chunk_end : keys.end;
        const auto add = [&](auto vectors, std::int64_t c) __attribute__((always_inline)) {
          const ValueChunk chunk{block->p + j / kLanes * kTileChunk + j % kLanes,
                                 v + c,
                                 v_stride,
                                 stop - j,
                                 j == keys.begin,
                                 stop == keys.end,
                                 {block->a, block->b, o + c, o_stride}};
          constexpr int kFloats = decltype(vectors)::count * kVecLanes;
          constexpr std::int64_t kUsed = (kFloats + kLineFloats - 1) / kLineFloats * kLineFloats;
          const std::int64_t touched = c == 0 ? reading.touched : 0;
          add_chunk_to_rows<R, decltype(vectors)::count>(
              chunk, sums + R * c,
              [ touched, ahead ](const float* row) __attribute__((always_inline)) {
                for (std::int64_t i = kUsed; i < touched; i += kLineFloats) touch(row + i);
                if (ahead == 0) return;
                for (int i = 0; i < kFloats; i += kLineFloats) {
                  __builtin_prefetch(row + ahead + i, 0, 2);
                }
              });
        };
        for_parts<R>(value_dim, add);
        v += (stop - j) * v_stride;
        j = stop;
      }
    }
  }
};

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
