// A work item on the stream route: packed pages block by block (prefill/query_tile.inl.hpp); rows
// of K and V in place, in batches of blocks whose scores are all computed before their first values
// are read (keys.inl.hpp, values.inl.hpp).
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/decode/keys.inl.hpp"
#include "kernels/decode/values.inl.hpp"
#include "kernels/prefill/attend_rows.inl.hpp"
#include "kernels/prefill/paged.inl.hpp"
#include "kernels/prefill/query_tile.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/tile/pack.inl.hpp"
#include "kernels/tile/scores.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The scores of an item, from K in place; the keys that make no whole vector by way of packed
/// panels. after: what is read next, as much as a group of keys of which may be loaded; or null.
inline void stream_scores(const AttendItem& item, const AttendScratch& scratch,
                          const QueryTile& tile, const float* after) {
  const KeyRows k = key_rows(item, scratch, tile.block, tile.keys);
  const std::int64_t keys = keys_of_lane(tile.keys.end - tile.keys.begin);
  const std::int64_t rest = tile.keys.begin + keys * kVecLanes;
  // First, since its column tile begins with keys of the vectors.
  if (rest < tile.keys.end) {
    pack_keys(k.first, k.stride, rest, tile.keys.end, item.call->head_dim, scratch.k);
    for (std::int64_t j = rest / kColumns * kColumns; j < tile.keys.end; j += kColumns) {
      const float* panel = scratch.k + j / kPanel * kPanel * item.call->head_dim + j % kPanel;
      with_rows<ScoreTile>(tile.rows, scratch.q, panel, item.call->head_dim, j, scratch.s, nullptr,
                           NoReadAhead{});
    }
  }
  if (keys == 0) return;
  const float* const first = k.first + tile.keys.begin * k.stride;
  if (takes_groups(k.stride, item.call->head_dim, tile.keys.begin)) {
    const std::int64_t group = kVecLanes * item.call->head_dim;
    if (after == nullptr) after = first + (keys - 1) * group;
    return with_rows<KeyGroups, kStreamRows>(tile.rows, scratch.q, first, keys, item.call->head_dim,
                                             scratch.s, tile.keys.begin, after);
  }
  with_rows<KeyStreams, kStreamRows>(tile.rows, scratch.q, first, k.stride, keys,
                                     item.call->head_dim, scratch.v);
  store_streams(scratch.v, tile.rows, keys, tile.keys.begin, scratch.s);
}

/// All rows of an item that streams packed pages against one block.
inline void stream_block_of_pages(const AttendItem& item, const AttendScratch& scratch,
                                  std::int64_t block, KeyRange keys) {
  PanelStream stream;
  attend_query_tile(item, scratch, QueryTile(item, 0, block),
                    pack_paged_block(item, scratch, block, keys), {item.rows, 0}, stream);
}

/// Blocks whose scores are computed before their first values are read. At every change between K
/// and V the hardware prefetchers start anew: batches of 4 blocks decode contiguous D1 in 1.02, of
/// 1 block in 1.07 of the time of batches of 8 (Zen 4, AVX-512); 12 gain nothing more.
constexpr int kBatchBlocks = 8;
static_assert(kStreamRows <= kRows && kRows <= kLanes && kBatchBlocks * kRows <= kQueryRows);

/// What the blocks of a batch keep until their values are processed.
struct BlockBatch {
  int count = 0;
  ValueBlock blocks[kBatchBlocks];
  std::int64_t numbers[kBatchBlocks];
  alignas(64) float a[kBatchBlocks][kLanes], b[kBatchBlocks][kLanes];
  alignas(64) float m[kBatchBlocks][kLanes],
      l[kBatchBlocks][kLanes];  // where blocks are not folded

  /// Scratch in which block i has its own weights and fold coefficients.
  AttendScratch scratch_of(int i, const AttendItem& item, const AttendScratch& scratch) {
    AttendScratch own = scratch;
    own.s += i * kRows * kKeyBlock;
    own.a = a[i];
    own.b = b[i];
    if (item.states != nullptr) {
      own.m = m[i];
      own.l = l[i];
    }
    return own;
  }
};

RAPT_INLINE const float* values_of(const AttendItem& item, const QueryTile& tile) {
  return item.v + (tile.block * kKeyBlock + tile.keys.begin) * item.call->v_stride;
}

/// What is read after the keys of a tile, at least a group of keys: those of the next block, or the
/// first values when no more blocks follow in the batch. Null where that is not so simple.
inline const float* read_after_keys(const AttendItem& item, const QueryTile& tile, bool ends,
                                    const float* first_values) {
  if (ends) {
    const bool dense =
        item.call->v_stride == item.call->value_dim && item.call->value_dim >= item.call->head_dim;
    return dense ? first_values : nullptr;
  }
  if (changes_keys(item)) return nullptr;
  const KeyRange then = visible_to_rows(item, item.row_begin, item.rows, tile.block + 1);
  if (then.begin != 0 || then.end < kVecLanes) return nullptr;
  return item.k + (tile.block + 1) * kKeyBlock * item.call->k_stride;
}

/// Scores and weights of blocks [begin, end). Where blocks are not folded, the state of those that
/// nobody sees is saved here.
inline void stream_weights(const AttendItem& item, const AttendScratch& scratch, std::int64_t begin,
                           std::int64_t end, BlockBatch& batch) {
  for (std::int64_t block = begin; block < end; ++block) {
    QueryTile tile(item, 0, block);
    if (tile.keys.begin == tile.keys.end) {
      if (item.states == nullptr) continue;
      clear_state(item, scratch);
      save_state(item, scratch, block);
      continue;
    }
    tile.whole = false;  // no maxima are collected with these scores
    const AttendScratch own = batch.scratch_of(batch.count, item, scratch);
    if (item.states != nullptr) clear_rows(own);
    batch.blocks[batch.count] = {own.s, values_of(item, tile), tile.keys, own.a, own.b};
    batch.numbers[batch.count] = block;
    batch.count += 1;
    const float* after = read_after_keys(item, tile, block + 1 == end, batch.blocks[0].v);
    stream_scores(item, own, tile, after);
    tile_weights(item, own, tile);
  }
}

/// All rows of an item that has few over blocks [begin, end): folded, or each into its state.
inline void stream_rows_in_place(const AttendItem& item, const AttendScratch& scratch,
                                 std::int64_t begin, std::int64_t end) {
  for (; begin < end; begin += kBatchBlocks) {
    BlockBatch batch;
    stream_weights(item, scratch, begin, begin + kBatchBlocks < end ? begin + kBatchBlocks : end,
                   batch);
    const auto add_values = [&](int first, int count) {
      with_rows<StreamValues, kStreamRows>(item.rows, batch.blocks + first, count,
                                           item.call->v_stride, item.call->value_dim, scratch.v,
                                           scratch.o, scratch.o_stride);
    };
    if (item.states == nullptr) {
      add_values(0, batch.count);
      continue;
    }
    for (int i = 0; i < batch.count; ++i) {
      clear_state(item, scratch);
      add_values(i, 1);
      save_state(item, batch.scratch_of(i, item, scratch), batch.numbers[i]);
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
