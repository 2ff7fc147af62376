// One work item of attention: rows of queries over a range of key blocks.
//   pack Q;  for each key block: pack K, V;  for each query tile: scores -> masks -> block softmax
//   -> weighted values, folded into the running state;  then the outputs (finish.inl.hpp).
#pragma once

#include "kernels/attend_rows.inl.hpp"
#include "kernels/attend_scratch.inl.hpp"
#include "kernels/block_softmax.inl.hpp"
#include "kernels/few_rows.inl.hpp"
#include "kernels/finish.inl.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/pack.inl.hpp"
#include "kernels/paged.inl.hpp"
#include "kernels/prefetch.inl.hpp"
#include "kernels/score_callback.inl.hpp"
#include "kernels/score_options.inl.hpp"
#include "kernels/scores.inl.hpp"
#include "kernels/state.inl.hpp"
#include "kernels/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The keys of block `block` that queries [first_query, last_query] may see, relative to the block.
/// Both ends of what a query sees ascend with the query.
RAPT_INLINE KeyRange visible_keys(const AttendArgs& args, std::int64_t first_query,
                                  std::int64_t last_query, std::int64_t block) {
  const std::int64_t base = block * kKeyBlock;
  std::int64_t begin = first_query + args.visible_begin - base;
  std::int64_t end = last_query + args.visible_end;
  end = end > args.visible_prefix ? end : args.visible_prefix;
  end = (end < args.kv_len ? end : args.kv_len) - base;
  begin = begin > 0 ? begin : 0;
  begin = begin < kKeyBlock ? begin : kKeyBlock;
  end = end < kKeyBlock ? end : kKeyBlock;
  return {begin, end > begin ? end : begin};
}

RAPT_INLINE KeyRange visible_to_rows(const AttendArgs& args, std::int64_t row, std::int64_t rows,
                                     std::int64_t block) {
  return visible_keys(args, position_of(args, row).query, position_of(args, row + rows - 1).query,
                      block);
}

/// Up to kQueryRows rows of the item against one block, in row tiles of kRows.
struct QueryTile {
  std::int64_t row;  // of the item
  std::int64_t rows;
  std::int64_t block;
  KeyRange keys;                       // what any of them may see
  bool uniform;                        // they all see the same
  bool whole;                          // ... whole column tiles of keys, with scores as they come
  KeyRange spans[kQueryRows / kRows];  // what each row tile may see

  QueryTile(const AttendArgs& args, std::int64_t row_, std::int64_t block_)
      : row(row_),
        rows(args.rows - row_ < kQueryRows ? args.rows - row_ : kQueryRows),
        block(block_) {
    keys = visible_to_rows(args, args.row_begin + row, rows, block);
    const KeyRange first = visible_to_rows(args, args.row_begin + row, 1, block);
    const KeyRange last = visible_to_rows(args, args.row_begin + row + rows - 1, 1, block);
    uniform = first.begin == last.begin && first.end == last.end;
    // Neither a column tile nor a line of scores may hold anything that is not a key of every row.
    constexpr std::int64_t unit = kColumns > kLanes ? kColumns : kLanes;
    whole = uniform && keys.begin % unit == 0 && keys.end % unit == 0 && !changes_scores(args);
    for (std::int64_t r = 0; r < rows; r += kRows) {
      spans[r / kRows] =
          uniform ? keys : visible_to_rows(args, args.row_begin + row + r, rows_at(r), block);
    }
  }

  /// Rows of the row tile that starts at r.
  std::int64_t rows_at(std::int64_t r) const { return rows - r < kRows ? rows - r : kRows; }

  KeyRange seen_by(const AttendArgs& args, std::int64_t r) const {
    return uniform ? keys : visible_to_rows(args, args.row_begin + row + r, 1, block);
  }
};

inline void pack_queries(const AttendArgs& args, const AttendScratch& scratch) {
  for (std::int64_t r = 0; r < args.rows; ++r) {
    const RowPosition at = position_of(args, args.row_begin + r);
    pack_scaled_row(query_row(args, scratch, at), args.head_dim, args.scale,
                    scratch.q + r / kRows * scratch.q_tile + r % kRows * kLanes);
  }
}

RAPT_INLINE PackedBlock pack_block(const AttendArgs& args, const AttendScratch& scratch,
                                   std::int64_t block, KeyRange keys) {
  if (args.pages.k != nullptr) return pack_paged_block(args, scratch, block, keys);
  const float* v = args.v + block * kKeyBlock * args.v_stride;
  const KeyRows k = key_rows(args, scratch, block, keys);
  pack_keys(k.first, k.stride, keys.begin, keys.end, args.head_dim, scratch.k);
  // Few rows do not repay the copy; a value_dim that is no whole number of tiles needs the padding.
  if (args.rows < kPackValuesRows && args.value_dim % kColumns == 0) {
    return {scratch.k, nullptr, v, args.v_stride, kPanel, nullptr};
  }
  pack_values(v, args.v_stride, keys.begin, keys.end, args.value_dim, scratch.v);
  return {scratch.k, nullptr, scratch.v, kPanel, kKeyBlock * kPanel, nullptr};
}

/// The scores of few rows, from K as it lies; the few keys that make no whole vector by way of
/// packed panels.
inline void few_rows_scores(const AttendArgs& args, const AttendScratch& scratch,
                            const QueryTile& tile) {
  const KeyRows k = key_rows(args, scratch, tile.block, tile.keys);
  const std::int64_t keys = keys_of_lane(tile.keys.end - tile.keys.begin);
  const std::int64_t rest = tile.keys.begin + keys * kVecLanes;
  if (keys > 0) {
    with_rows<KeyStreams, kFewRows>(tile.rows, scratch.q, k.first + tile.keys.begin * k.stride,
                                    k.stride, keys, args.head_dim, scratch.v);
  }
  if (rest < tile.keys.end) {
    pack_keys(k.first, k.stride, rest, tile.keys.end, args.head_dim, scratch.k);
    for (std::int64_t j = rest / kColumns * kColumns; j < tile.keys.end; j += kColumns) {
      const float* panel = scratch.k + j / kPanel * kPanel * args.head_dim + j % kPanel;
      with_rows<ScoreTile>(tile.rows, scratch.q, panel, args.head_dim, j, scratch.s, nullptr);
    }
  }
  // After the column tile of the rest, which begins with keys of the streams.
  if (keys > 0) store_streams(scratch.v, tile.rows, keys, tile.keys.begin, scratch.s);
}

/// Column tiles outside, row tiles inside: a tile of K stays in L1 for all rows.
inline void tile_scores(const AttendArgs& args, const AttendScratch& scratch, const QueryTile& tile,
                        const PackedBlock& packed, Prefetcher& prefetcher) {
  const float* q = scratch.q + tile.row / kRows * scratch.q_tile;
  for (std::int64_t i = 0; tile.whole && i < tile.rows * kLanes; i += kVecLanes) {
    store(scratch.top + i, Vec(-kInfinity));
  }
  for (std::int64_t j = tile.keys.begin / kColumns * kColumns; j < tile.keys.end; j += kColumns) {
    const float* k = key_panel(args, packed, j) + j % kPanel;
    for (std::int64_t r = 0; r < tile.rows; r += kRows) {
      const KeyRange seen = tile.spans[r / kRows];
      if (j >= seen.end || j + kColumns <= seen.begin) continue;
      float* top = tile.whole ? scratch.top + r * kLanes : nullptr;
      with_rows<ScoreTile>(tile.rows_at(r), q + r / kRows * scratch.q_tile, k, args.head_dim, j,
                           scratch.s + r * kKeyBlock, top);
      prefetcher.step();
    }
  }
}

RAPT_INLINE float* scores_of_row(const AttendScratch& scratch, std::int64_t r) {
  return scratch.s + r / kRows * kRows * kKeyBlock + r % kRows * kLanes;
}

inline void tile_score_options(const AttendArgs& args, const AttendScratch& scratch,
                               const QueryTile& tile) {
  if (!changes_scores(args)) return;
  const std::int64_t key = tile.block * kKeyBlock, row = args.row_begin + tile.row;
  const auto seen_by = [&](std::int64_t r) { return tile.seen_by(args, r); };
  const auto scores_of = [&](std::int64_t r) { return scores_of_row(scratch, r); };
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const RowPosition at = position_of(args, row + r);
    apply_score_options(args, at, key, seen_by(r), scores_of(r));
    if (args.callback == nullptr) hide_keys(args, at, key, seen_by(r), scores_of(r));
  }
  if (args.callback == nullptr) return;
  call_back(args, scratch, row, tile.rows, key, tile.keys, seen_by, scores_of);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    hide_keys(args, position_of(args, row + r), key, seen_by(r), scores_of(r));
  }
}

/// Weights of the tile in place of its scores; each row's m and l of the block. The maxima of a
/// whole tile were collected with the scores. Two passes over the rows, so that the reductions of
/// one row overlap the next row's work.
inline void tile_softmax(const AttendArgs& args, const AttendScratch& scratch,
                         const QueryTile& tile) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    if (tile.whole) {
      scratch.block_m[r] = max_lanes(load(scratch.top + r * kLanes));
      continue;
    }
    const KeyRange seen = tile.seen_by(args, r);
    scratch.block_m[r] =
        seen.begin < seen.end ? block_max(scores_of_row(scratch, r), seen) : -kInfinity;
  }
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    scratch.block_l[r] = block_weights(scores_of_row(scratch, r), tile.seen_by(args, r),
                                       tile.spans[r / kRows], scratch.block_m[r]);
  }
}

/// The same from pages where they lie.
inline void paged_values(const AttendArgs& args, const AttendScratch& scratch,
                         const QueryTile& tile, Prefetcher& prefetcher) {
  for (std::int64_t c = 0; c < args.value_dim; c += kColumns) {
    for (std::int64_t r = 0; r < tile.rows; r += kRows) {
      const KeyRange seen = tile.spans[r / kRows];
      if (seen.begin == seen.end) continue;
      const FoldInto fold{scratch.a + r, scratch.b + r,
                          scratch.o + (tile.row + r) * scratch.o_stride + c, scratch.o_stride};
      with_rows<PagedValueTile>(tile.rows_at(r), args, tile.block, seen, c,
                                scratch.s + r * kKeyBlock, fold);
      prefetcher.step();
    }
  }
}

/// Weighted values of the tile. Column tiles outside: a tile of V stays in L1 for all rows.
inline void tile_values(const AttendArgs& args, const AttendScratch& scratch, const QueryTile& tile,
                        const PackedBlock& packed, Prefetcher& prefetcher) {
  if (packed.v_pages != nullptr) return paged_values(args, scratch, tile, prefetcher);
  for (std::int64_t c = 0; c < args.value_dim; c += kColumns) {
    const float* v = packed.v + c / kPanel * packed.v_panel_stride + c % kPanel;
    for (std::int64_t r = 0; r < tile.rows; r += kRows) {
      const KeyRange seen = tile.spans[r / kRows];
      if (seen.begin == seen.end) continue;
      const FoldInto fold{scratch.a + r, scratch.b + r,
                          scratch.o + (tile.row + r) * scratch.o_stride + c, scratch.o_stride};
      with_rows<ValueTile>(tile.rows_at(r), scratch.s + r * kKeyBlock,
                           v + seen.begin * packed.v_stride, packed.v_stride, seen.begin, seen.end,
                           fold);
      prefetcher.step();
    }
  }
}

/// Scores become weights, and what folding the block into the running state needs.
inline void tile_weights(const AttendArgs& args, const AttendScratch& scratch,
                         const QueryTile& tile) {
  tile_score_options(args, scratch, tile);
  tile_softmax(args, scratch, tile);
  for (std::int64_t r = 0; args.weights != nullptr && r < tile.rows; ++r) {
    keep_weights(args, scratch, tile.row + r, tile.block, tile.seen_by(args, r),
                 scores_of_row(scratch, r));
  }
  fold_coefficients(scratch.m + tile.row, scratch.l + tile.row, scratch.block_m, scratch.block_l,
                    tile.rows, scratch.a, scratch.b);
}

inline void attend_query_tile(const AttendArgs& args, const AttendScratch& scratch,
                              const QueryTile& tile, const PackedBlock& packed,
                              Prefetcher& prefetcher) {
  tile_scores(args, scratch, tile, packed, prefetcher);
  tile_weights(args, scratch, tile);
  tile_values(args, scratch, tile, packed, prefetcher);
}

/// Whether the item takes K and V as they lie (few_rows.inl.hpp). Its scores pass through the
/// memory of V's panels, which without values there is none of. A column tile that is a part of a
/// panel needs the prefetches of the other path (8192 keys in pages, AVX2, Zen 4: 10 GB/s with, 7
/// without; AVX-512 10 with, 13 without).
RAPT_INLINE bool has_few_rows(const AttendArgs& args) {
  if (args.rows > kFewRows || args.value_dim <= 0 || args.value_dim % kVecLanes != 0) return false;
  return args.pages.k == nullptr ? args.head_dim % kVecLanes == 0
                                 : args.pages.packed != 0 && kColumns == kPanel;
}

/// All rows of an item that has few against one block of packed pages.
inline void attend_few_rows_of_pages(const AttendArgs& args, const AttendScratch& scratch,
                                     std::int64_t block, KeyRange keys) {
  const QueryTile tile(args, 0, block);
  const PageTable& pages = args.pages;
  Prefetcher nothing;  // panels and rows are read from end to end: the processor's own will do
  tile_scores(args, scratch, tile, pack_paged_block(args, scratch, block, keys), nothing);
  tile_weights(args, scratch, tile);
  const auto value_row = [&](std::int64_t j) {
    const std::int64_t key = block * kKeyBlock + j;
    return pages.v[key / pages.keys] + pages.v_offset + key % pages.keys * args.v_stride;
  };
  few_rows_values(scratch.s, value_row, args.v_stride, tile.keys.begin, tile.keys.end, tile.rows,
                  args.value_dim, scratch.v, {scratch.a, scratch.b, scratch.o, scratch.o_stride});
}

/// Asks for the first keys of what follows `block`: the item's next block or the next item's first.
inline void start_next_keys(const AttendArgs& args, std::int64_t block) {
  const bool last = block + 1 >= args.block_end;
  if (last && args.next == nullptr) return;
  const AttendArgs& then = last ? *args.next : args;
  const std::int64_t next = last ? then.block_begin : block + 1;
  const KeyRange keys = visible_to_rows(then, then.row_begin, then.rows, next);
  if (keys.begin == keys.end) return;
  start_keys(then.k + (next * kKeyBlock + keys.begin) * then.k_stride, then.k_stride,
             keys.end - keys.begin);
}

/// All rows of an item that has few against one block.
inline void attend_few_rows(const AttendArgs& args, const AttendScratch& scratch,
                            std::int64_t block) {
  QueryTile tile(args, 0, block);
  tile.whole = false;  // no maxima are collected with these scores
  const float* v = args.v + (block * kKeyBlock + tile.keys.begin) * args.v_stride;
  few_rows_scores(args, scratch, tile);
  start_values(v, args.v_stride, tile.keys.end - tile.keys.begin, args.value_dim);
  tile_weights(args, scratch, tile);
  start_next_keys(args, block);
  const auto value_row = [&](std::int64_t j) { return v + (j - tile.keys.begin) * args.v_stride; };
  few_rows_values(scratch.s, value_row, args.v_stride, tile.keys.begin, tile.keys.end, tile.rows,
                  args.value_dim, scratch.v, {scratch.a, scratch.b, scratch.o, scratch.o_stride});
}

/// What comes after `block`: the item's next block, or its outputs and the next item's first
/// inputs.
inline Prefetcher prefetch_after(const AttendArgs& args, std::int64_t block, KeyRange keys) {
  Prefetcher prefetcher;
  const KeyRange next = visible_to_rows(args, args.row_begin, args.rows, block + 1);
  if (block + 1 < args.block_end && next.begin < next.end) {
    prefetch_block(args, block + 1, next, prefetcher);
  } else {
    if (args.states == nullptr) prefetch_outputs(args, prefetcher);
    if (args.next != nullptr) {
      const AttendArgs& then = *args.next;
      prefetch_queries(then, prefetcher);
      prefetch_block(then, then.block_begin,
                     visible_to_rows(then, then.row_begin, then.rows, then.block_begin),
                     prefetcher);
    }
  }
  const std::int64_t row_tiles = (args.rows + kRows - 1) / kRows;
  prefetcher.spread_over(row_tiles *
                         ((keys.end - keys.begin + args.value_dim + kColumns - 1) / kColumns));
  return prefetcher;
}

/// All rows of the item over blocks [begin, end), from and into the running state in scratch.
inline void attend_blocks(const AttendArgs& args, const AttendScratch& scratch, std::int64_t begin,
                          std::int64_t end) {
  for (std::int64_t block = begin; block < end; ++block) {
    const KeyRange keys = visible_to_rows(args, args.row_begin, args.rows, block);
    if (keys.begin == keys.end) continue;
    if (has_few_rows(args)) {
      if (args.pages.k == nullptr) {
        attend_few_rows(args, scratch, block);
      } else {
        attend_few_rows_of_pages(args, scratch, block, keys);
      }
      continue;
    }
    Prefetcher prefetcher = prefetch_after(args, block, keys);
    const PackedBlock packed = pack_block(args, scratch, block, keys);
    for (std::int64_t row = 0; row < args.rows; row += kQueryRows) {
      const QueryTile tile(args, row, block);
      if (tile.keys.begin == tile.keys.end) continue;
      attend_query_tile(args, scratch, tile, packed, prefetcher);
    }
  }
}

/// One row against one block, leaving out what does not exist for it: keys outside its range, and
/// keys whose score is -inf. They get a weight of -0.
inline void attend_block_exactly(const AttendArgs& args, const AttendScratch& scratch,
                                 std::int64_t block) {
  const QueryTile tile(args, 0, block);
  const KeyRange seen = tile.keys;
  if (seen.begin == seen.end) return;
  PackedBlock packed = pack_block(args, scratch, block, seen);
  if (packed.v_pages != nullptr) pack_paged_values(args, block, seen, scratch.v);
  Prefetcher nothing;
  tile_scores(args, scratch, tile, packed, nothing);
  tile_score_options(args, scratch, tile);
  bool hidden[kKeyBlock];
  for (std::int64_t j = seen.begin; j < seen.end; ++j) {
    hidden[j] = *score_of(scratch.s, j) == -kInfinity;
  }
  scratch.block_m[0] = block_max(scratch.s, seen);
  scratch.block_l[0] = block_weights(scratch.s, seen, seen, scratch.block_m[0]);
  for (std::int64_t j = seen.begin; j < seen.end; ++j) {
    if (hidden[j]) *score_of(scratch.s, j) = -0.0f;
  }
  if (args.weights != nullptr) keep_weights(args, scratch, 0, block, seen, scratch.s);
  fold_coefficients(scratch.m, scratch.l, scratch.block_m, scratch.block_l, 1, scratch.a,
                    scratch.b);
  values_of_existing_keys(scratch.s, packed.v + seen.begin * packed.v_stride, packed.v_stride,
                          packed.v_panel_stride, seen.begin, seen.end, args.value_dim,
                          {scratch.a, scratch.b, scratch.o, scratch.o_stride});
}

/// One row again, exactly. A row that came out NaN or Inf may owe it to 0 * NaN at a key that it
/// cannot see; so rare that the fast path only looks at the result.
inline void attend_row_exactly(const AttendArgs& args, std::int64_t r) {
  AttendArgs one = args;
  one.row_begin = args.row_begin + r;
  one.rows = 1;
  // Behind what the other rows of the item still need.
  one.scratch = args.scratch + AttendScratch(args).floats;
  const AttendScratch scratch(one);
  pack_queries(one, scratch);
  begin_state(one, scratch);
  clear_weights(one, scratch);
  for (std::int64_t block = 0; block < blocks_of(args); ++block) {
    attend_block_exactly(one, scratch, block);
  }
  finish_row(one, scratch, 0, true);
}

inline void finish_rows(const AttendArgs& args, const AttendScratch& scratch) {
  for (std::int64_t r = 0; r < args.rows; ++r) {
    if (!finish_row(args, scratch, r, false)) attend_row_exactly(args, r);
  }
}

inline void attend(const AttendArgs& args) {
  const AttendScratch scratch(args);
  pack_queries(args, scratch);
  if (args.states == nullptr) {
    begin_state(args, scratch);
    clear_weights(args, scratch);
    attend_blocks(args, scratch, args.block_begin, args.block_end);
    finish_rows(args, scratch);
    return;
  }
  for (std::int64_t block = args.block_begin; block < args.block_end; ++block) {
    clear_state(args, scratch);
    attend_blocks(args, scratch, block, block + 1);
    save_state(args, scratch, block);
  }
}

/// Folds the states of all blocks, left to right, and writes the outputs.
inline void fold(const AttendArgs& args) {
  const AttendScratch scratch(args);
  begin_state(args, scratch);
  fold_states(args, scratch);
  finish_rows(args, scratch);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
