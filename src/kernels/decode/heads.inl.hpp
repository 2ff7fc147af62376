// The decode path of several kv heads whose K and V are [tokens, kv heads, dim]. A row of one head
// is too short for the hardware prefetchers, and rows that far apart are more streams than they
// follow. So a few keys are processed for all heads while the next ones are prefetched line by line
// in ascending order: what is read is one stretch of memory.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/decode/keys.inl.hpp"
#include "kernels/decode/values.inl.hpp"
#include "kernels/prefill/query_tile.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Where the rows of all heads lie that are read next. Asking is no access: it may pass their end.
class RowsAhead {
 public:
  /// Rows of `width` floats, `stride` apart.
  RowsAhead(const float* first, std::int64_t width, std::int64_t stride)
      : at_(first), end_(first + width), width_(width), stride_(stride) {}

  /// Asks for the next N lines.
  template <int N>
  RAPT_INLINE void ask() {
    if (at_ >= end_) {
      end_ += stride_;
      at_ = end_ - width_;
    }
    RAPT_UNROLL for (int i = 0; i < N; ++i) __builtin_prefetch(at_ + i * kLineFloats, 0, 2);
    at_ += N * kLineFloats;
  }

 private:
  const float *at_, *end_;
  std::int64_t width_, stride_;
};

/// Scores of kVecLanes keys of one head.
template <int R>
struct HeadKeys {
  /// q: the head's row tile. k: its first key. s: the row tile's scores from that key on, which is
  /// a multiple of kVecLanes.
  RAPT_NOINLINE static void run(const float* q, const float* k, std::int64_t k_stride,
                                std::int64_t head_dim, float* s, RowsAhead& ahead) {
    constexpr int kLinesOfColumns = kVecLanes * kVecLanes / static_cast<int>(kLineFloats);
    RowsAhead next = ahead;
    Vec acc[R][1];
    clear(acc);
    for (std::int64_t d = 0; d < head_dim; d += kVecLanes) {
      Vec column[kVecLanes];
      load_transposed(k + d, k_stride, column);
      next.template ask<kLinesOfColumns>();
      multiply_columns(q, d, column, acc);
    }
    RAPT_UNROLL for (int r = 0; r < R; ++r) store(s + r * kLanes, acc[r][0]);
    ahead = next;
  }
};

/// Some keys of a block times the values of one head, all columns of them.
template <int R>
struct HeadValues {
  /// sums: [R][value_dim] floats, which wait there from chunk to chunk.
  RAPT_NOINLINE static void run(const ValueChunk& chunk, std::int64_t value_dim, float* sums,
                                RowsAhead& ahead) {
    RowsAhead next = ahead;
    const auto add = [&](auto vectors, std::int64_t c) __attribute__((always_inline)) {
      constexpr int kVectorsOfPart = decltype(vectors)::count;
      constexpr int kLines = (kVectorsOfPart * kVecLanes + kLineFloats - 1) / kLineFloats;
      ValueChunk part = chunk;
      part.v += c;
      part.fold.o += c;
      add_chunk_to_rows<R, kVectorsOfPart>(part, sums + R * c,
                                           [&](const float*) { next.template ask<kLines>(); });
    };
    for_parts<R>(value_dim, add);
    ahead = next;
  }
};

// What the heads have in the scratch memory of scores, and of V's panels.
static_assert(kItemHeads * kRows <= kQueryRows && kItemHeads * kStreamRows <= kKeyBlock);

/// Few rows of several heads, whose rows of K and V lie side by side, against a whole block.
/// scratch_of(h): what head h keeps its queries and state in; all else is that of the first.
template <class ScratchOf>
inline void stream_block_of_heads(const AttendItem* heads, std::int64_t count,
                                  const ScratchOf& scratch_of, std::int64_t block) {
  const AttendItem& item = heads[0];
  const std::int64_t head_dim = item.call->head_dim, value_dim = item.call->value_dim;
  const std::int64_t k_stride = item.call->k_stride, v_stride = item.call->v_stride;
  alignas(64) float a[kItemHeads][kLanes], b[kItemHeads][kLanes];
  const auto own_of = [&](std::int64_t h) {
    AttendScratch own = scratch_of(h);
    own.s += h * kRows * kKeyBlock;
    own.v += h * item.rows * value_dim;
    own.a = a[h];
    own.b = b[h];
    return own;
  };
  const float* const k = item.k + block * kKeyBlock * k_stride;
  const float* const v = item.v + block * kKeyBlock * v_stride;
  const auto values_ahead = [&](std::int64_t key) {
    return RowsAhead(v + key * v_stride, count * value_dim, v_stride);
  };
  const auto keys_ahead = [&](std::int64_t key) {
    return RowsAhead(k + key * k_stride, count * head_dim, k_stride);
  };
  for (std::int64_t j = 0; j < kKeyBlock; j += kVecLanes) {
    const std::int64_t then = j + kVecLanes;
    RowsAhead ahead = then < kKeyBlock ? keys_ahead(then) : values_ahead(0);
    for (std::int64_t h = 0; h < count; ++h) {
      const AttendScratch own = own_of(h);
      with_rows<HeadKeys, kStreamRows>(item.rows, own.q, k + j * k_stride + h * head_dim, k_stride,
                                       head_dim, score_of(own.s, j), ahead);
    }
  }
  QueryTile tile(item, 0, block);
  tile.whole = false;  // no maxima are collected with these scores
  for (std::int64_t h = 0; h < count; ++h) tile_weights(heads[h], own_of(h), tile);
  for (std::int64_t j = 0; j < kKeyBlock; j += kLanes) {
    const std::int64_t then = j + kLanes;
    RowsAhead ahead = then < kKeyBlock ? values_ahead(then) : keys_ahead(kKeyBlock);
    for (std::int64_t h = 0; h < count; ++h) {
      const AttendScratch own = own_of(h);
      const ValueChunk chunk{own.s + j / kLanes * kTileChunk,
                             v + j * v_stride + h * value_dim,
                             v_stride,
                             kLanes,
                             j == 0,
                             then == kKeyBlock,
                             {own.a, own.b, own.o, own.o_stride}};
      with_rows<HeadValues, kStreamRows>(item.rows, chunk, value_dim, own.v, ahead);
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
