// A work item of few rows: pages block by block (few_rows_panels.inl.hpp); K and V as they lie in
// runs of blocks, all their scores before the first of their values (few_rows_keys.inl.hpp,
// few_rows_values.inl.hpp).
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/decode/keys.inl.hpp"
#include "kernels/decode/panels.inl.hpp"
#include "kernels/decode/values.inl.hpp"
#include "kernels/prefill/attend_rows.inl.hpp"
#include "kernels/prefill/paged.inl.hpp"
#include "kernels/prefill/query_tile.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/tile/pack.inl.hpp"
#include "kernels/tile/scores.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The scores of few rows, from K as it lies; the few keys that make no whole vector by way of
/// packed panels. after: where as much as a group of keys can be touched for what is read next; may
/// be null.
inline void few_rows_scores(const AttendItem& item, const AttendScratch& scratch,
                            const QueryTile& tile, const float* after) {
  const KeyRows k = key_rows(item, scratch, tile.block, tile.keys);
  const std::int64_t keys = keys_of_lane(tile.keys.end - tile.keys.begin);
  const std::int64_t rest = tile.keys.begin + keys * kVecLanes;
  // First, since its column tile begins with keys of the vectors.
  if (rest < tile.keys.end) {
    pack_keys(k.first, k.stride, rest, tile.keys.end, item.call->head_dim, scratch.k);
    for (std::int64_t j = rest / kColumns * kColumns; j < tile.keys.end; j += kColumns) {
      const float* panel = scratch.k + j / kPanel * kPanel * item.call->head_dim + j % kPanel;
      with_rows<ScoreTile>(tile.rows, scratch.q, panel, item.call->head_dim, j, scratch.s, nullptr);
    }
  }
  if (keys == 0) return;
  const float* const first = k.first + tile.keys.begin * k.stride;
  if (takes_groups(k.stride, item.call->head_dim, tile.keys.begin)) {
    const std::int64_t group = kVecLanes * item.call->head_dim;
    if (after == nullptr) after = first + (keys - 1) * group;
    return with_rows<KeyGroups, kFewRows>(tile.rows, scratch.q, first, keys, item.call->head_dim,
                                          scratch.s, tile.keys.begin, after);
  }
  with_rows<KeyStreams, kFewRows>(tile.rows, scratch.q, first, k.stride, keys, item.call->head_dim,
                                  scratch.v);
  store_streams(scratch.v, tile.rows, keys, tile.keys.begin, scratch.s);
}

/// Rows of an item that takes K and V as they lie. Its scores pass through the memory of V's
/// panels, which without values there is none of.
inline std::int64_t stream_rows(KeyStorage storage, std::int64_t head_dim, std::int64_t value_dim) {
  if (storage == KeyStorage::pages_of_rows) return 0;
  if (value_dim <= 0 || value_dim % kVecLanes != 0) return 0;
  return storage == KeyStorage::packed_pages || head_dim % kVecLanes == 0 ? kFewRows : 0;
}

/// The first values of a block of packed pages, or null where fewer of them lie side by side than
/// are touched beside the weights.
inline const float* values_to_touch(const AttendItem& item, const QueryTile& tile) {
  const std::int64_t first = tile.block * kKeyBlock + tile.keys.begin;
  const std::int64_t row = first % item.call->page_keys;
  const std::int64_t left = item.call->page_keys - row, seen = tile.keys.end - tile.keys.begin;
  if ((left < seen ? left : seen) * kPanel < tile.rows * kLinesBesideWeights * kLineFloats) {
    return nullptr;
  }
  return value_panels(item, {first / item.call->page_keys, row, tile.keys.begin, tile.keys.end});
}

/// All rows of an item that has few against one block of packed pages.
inline void attend_few_rows_of_pages(const AttendItem& item, const AttendScratch& scratch,
                                     std::int64_t block, KeyRange keys) {
  QueryTile tile(item, 0, block);
  tile.whole = false;  // no maxima are collected with these scores
  const PackedBlock packed = paged_keys(item, scratch, block, keys);
  HotLines hot{scratch, tile.rows};
  for (std::int64_t j = keys.begin / kPanel * kPanel; j < keys.end; j += kPanel) {
    if (j + kPanel >= keys.end) hot.lines = LineRange({keys.begin, j});
    panel_scores(scratch.q, key_panel(item, packed, j), tile.rows, item.call->head_dim,
                 score_of(scratch.s, j), hot);
  }
  tile_weights(item, scratch, tile, values_to_touch(item, tile));
  const FoldInto fold{scratch.a, scratch.b, scratch.o, scratch.o_stride};
  for_page_pieces(item, block, tile.keys, [&](const PagePiece& piece) {
    panel_values(scratch.s, value_panels(item, piece), value_panel_stride(item),
                 {piece.begin, piece.end}, tile.keys, tile.rows, item.call->value_dim, scratch.v,
                 fold);
  });
}

/// Whether the item is streamed in runs of blocks: K and V are rows.
RAPT_INLINE bool takes_runs(const AttendItem& item) {
  return item.route == Route::stream && !in_pages(item);
}

/// Blocks whose scores are computed before the first of their values. At every change between K and
/// V the prefetchers begin anew: a run of 4 blocks decodes contiguous D1 in 1.02, one of 1 block in
/// 1.07 of the time of one of 8 (Zen 4, AVX-512); 12 gain nothing more.
constexpr int kRunBlocks = 8;
static_assert(kFewRows <= kRows && kRows <= kLanes && kRunBlocks * kRows <= kQueryRows);

/// What the blocks of a run keep until their values are met.
struct FewRowsRun {
  int count = 0;
  ValueBlock blocks[kRunBlocks];
  std::int64_t numbers[kRunBlocks];
  alignas(64) float a[kRunBlocks][kLanes], b[kRunBlocks][kLanes];
  alignas(64) float m[kRunBlocks][kLanes], l[kRunBlocks][kLanes];  // where blocks are not folded

  /// Scratch in which block i of the run has its weights, and what folds them, to itself.
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
/// first values when no more blocks follow in the run. Null where that is not so simple.
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
inline void few_rows_weights(const AttendItem& item, const AttendScratch& scratch,
                             std::int64_t begin, std::int64_t end, FewRowsRun& run) {
  for (std::int64_t block = begin; block < end; ++block) {
    QueryTile tile(item, 0, block);
    if (tile.keys.begin == tile.keys.end) {
      if (item.states == nullptr) continue;
      clear_state(item, scratch);
      save_state(item, scratch, block);
      continue;
    }
    tile.whole = false;  // no maxima are collected with these scores
    const AttendScratch own = run.scratch_of(run.count, item, scratch);
    if (item.states != nullptr) clear_rows(own);
    run.blocks[run.count] = {own.s, values_of(item, tile), tile.keys, own.a, own.b};
    run.numbers[run.count] = block;
    run.count += 1;
    const float* after = read_after_keys(item, tile, block + 1 == end, run.blocks[0].v);
    few_rows_scores(item, own, tile, after);
    tile_weights(item, own, tile);
  }
}

/// All rows of an item that has few over blocks [begin, end): folded, or each into its state.
inline void attend_few_rows(const AttendItem& item, const AttendScratch& scratch,
                            std::int64_t begin, std::int64_t end) {
  for (; begin < end; begin += kRunBlocks) {
    FewRowsRun run;
    few_rows_weights(item, scratch, begin, begin + kRunBlocks < end ? begin + kRunBlocks : end,
                     run);
    const auto add_values = [&](int first, int count) {
      with_rows<FewRowsValues, kFewRows>(item.rows, run.blocks + first, count, item.call->v_stride,
                                         item.call->value_dim, scratch.v, scratch.o,
                                         scratch.o_stride);
    };
    if (item.states == nullptr) {
      add_values(0, run.count);
      continue;
    }
    for (int i = 0; i < run.count; ++i) {
      clear_state(item, scratch);
      add_values(i, 1);
      save_state(item, run.scratch_of(i, item, scratch), run.numbers[i]);
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
