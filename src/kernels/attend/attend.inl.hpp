// One work item of attention: rows of queries over a range of key blocks.
//   pack Q;  for each key block: pack K, V;  for each query tile: scores -> masks -> block softmax
//   -> weighted values, folded into the running state;  then the outputs (finish.inl.hpp).
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/attend/tiny.inl.hpp"
#include "kernels/decode/decode.inl.hpp"
#include "kernels/decode/heads.inl.hpp"
#include "kernels/prefill/attend_rows.inl.hpp"
#include "kernels/prefill/paged.inl.hpp"
#include "kernels/prefill/prefetch.inl.hpp"
#include "kernels/prefill/query_tile.inl.hpp"
#include "kernels/prefill/score_options.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/state/state.inl.hpp"
#include "kernels/tile/pack.inl.hpp"
#include "kernels/tile/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

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
  // Few rows do not repay the copy, nor do rows of V that lie close together; a value_dim that is
  // no whole number of tiles needs the padding.
  const bool in_place =
      args.rows < kPackValuesRows || (args.v_stride >= 0 && args.v_stride <= kNearValuesStride);
  if (in_place && args.value_dim % kColumns == 0) {
    return {scratch.k, nullptr, v, args.v_stride, kPanel, nullptr};
  }
  pack_values(v, args.v_stride, keys.begin, keys.end, args.value_dim, scratch.v);
  return {scratch.k, nullptr, scratch.v, kPanel, kKeyBlock * kPanel, nullptr};
}

/// What comes after `block`: the outputs of rows [first, last), which it is the last block of, the
/// item's next block or else the next item's first inputs. last: 0 where outputs are not written
/// directly; those of all rows then come after the last block.
inline Prefetcher prefetch_after(const AttendArgs& args, std::int64_t block, std::int64_t first,
                                 std::int64_t last) {
  Prefetcher prefetcher;
  if (first < last) prefetch_outputs(args, first, last < args.rows ? last : args.rows, prefetcher);
  const KeyRange next = visible_to_rows(args, args.row_begin, args.rows, block + 1);
  if (block + 1 < args.block_end && next.begin < next.end) {
    prefetch_block(args, block + 1, next, prefetcher);
  } else {
    if (args.states == nullptr && last == 0) prefetch_outputs(args, 0, args.rows, prefetcher);
    if (args.next != nullptr) {
      const AttendArgs& then = *args.next;
      prefetch_queries(then, prefetcher);
      prefetch_block(then, then.block_begin,
                     visible_to_rows(then, then.row_begin, then.rows, then.block_begin),
                     prefetcher);
    }
  }
  std::int64_t steps = 0;
  for (std::int64_t row = 0; row < args.rows; row += kQueryRows) {
    const std::int64_t rows = args.rows - row < kQueryRows ? args.rows - row : kQueryRows;
    const KeyRange keys = visible_to_rows(args, args.row_begin + row, rows, block);
    if (keys.begin == keys.end) continue;
    steps += (rows + kRows - 1) / kRows *
             ((keys.end - keys.begin + args.value_dim + kColumns - 1) / kColumns);
  }
  prefetcher.spread_over(steps);
  return prefetcher;
}

/// Whether any row of the row tile at `row` sees a key of the block.
RAPT_INLINE bool row_tile_sees(const AttendArgs& args, std::int64_t row, std::int64_t block) {
  if (block >= args.block_end) return false;
  const std::int64_t rows = args.rows - row < kRows ? args.rows - row : kRows;
  const KeyRange seen = visible_to_rows(args, args.row_begin + row, rows, block);
  return seen.begin < seen.end;
}

/// All rows of the item over blocks [begin, end), from and into the running state in scratch; when
/// `direct`, into the outputs.
inline void attend_blocks(const AttendArgs& args, const AttendScratch& scratch, std::int64_t begin,
                          std::int64_t end, bool direct = false) {
  if (takes_runs(args)) {
    return attend_few_rows(args, scratch, begin, end);
  }
  // What a row sees begins and ends no earlier than what the row before it does, and begins at most
  // a key later: what the rows of a tile see has no gaps.
  DirectRows direct_rows{direct ? 0 : args.rows, 0};
  for (std::int64_t block = begin; block < end; ++block) {
    const KeyRange keys = visible_to_rows(args, args.row_begin, args.rows, block);
    if (keys.begin == keys.end) continue;
    if (has_few_rows(args)) {  // of pages
      attend_few_rows_of_pages(args, scratch, block, keys);
      continue;
    }
    const std::int64_t ended = direct_rows.ended;
    while (direct && direct_rows.ended < args.rows &&
           !row_tile_sees(args, direct_rows.ended, block + 1)) {
      direct_rows.ended += kRows;
    }
    Prefetcher prefetcher = prefetch_after(args, block, ended, direct_rows.ended);
    const PackedBlock packed = pack_block(args, scratch, block, keys);
    for (std::int64_t row = 0; row < args.rows; row += kQueryRows) {
      const QueryTile tile(args, row, block);
      if (tile.keys.begin == tile.keys.end) continue;
      attend_query_tile(args, scratch, tile, packed,
                        {direct_rows.begun - row, direct_rows.ended - row}, prefetcher);
    }
    if (block + 1 == end) break;
    while (direct_rows.begun < args.rows && row_tile_sees(args, direct_rows.begun, block)) {
      direct_rows.begun += kRows;
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
  if (changes_scores(args)) tile_score_options(args, scratch, tile);
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
  if (ends_plainly(args) && finish_plain_rows(args, scratch)) return;
  for (std::int64_t r = 0; r < args.rows; ++r) {
    if (!finish_row(args, scratch, r, false)) attend_row_exactly(args, r);
  }
}

/// Whether all rows of the item see a key and end in nothing but out and lse, so that sums need not
/// be cleared before a row's first block nor be read again after its last one.
inline bool can_attend_directly(const AttendArgs& args) {
  const bool plain = ends_plainly(args) && args.states == nullptr && args.state_in.o == nullptr &&
                     args.mask == nullptr && args.bias == nullptr && args.callback == nullptr;
  if (!plain || has_few_rows(args) || args.value_dim % kColumns != 0) return false;
  if (args.block_begin == args.block_end) return false;
  const KeyRange first = visible_to_rows(args, args.row_begin, 1, args.block_begin);
  const KeyRange last =
      visible_to_rows(args, args.row_begin + args.rows - 1, 1, args.block_end - 1);
  return first.begin < first.end && last.begin < last.end;
}

/// Such an item. Returns false when something is not finite.
inline bool attend_directly(const AttendArgs& args, const AttendScratch& scratch) {
  clear_rows(scratch);
  for (int i = 0; i < kLanes; i += kVecLanes) store(scratch.largest + i, Vec(0.0f));
  attend_blocks(args, scratch, args.block_begin, args.block_end, true);
  if (!all_below(load(scratch.largest), Vec(kInfinity))) return false;
  for (std::int64_t r = 0; args.lse != nullptr && r < args.rows; ++r) {
    write_lse(args, position_of(args, args.row_begin + r), scratch.m[r], scratch.l[r]);
  }
  return true;
}

inline void attend_item(const AttendArgs& args) {
  if (is_tiny(args)) {
    return attend_tiny(args, [&](std::int64_t r) { attend_row_exactly(args, r); });
  }
  const AttendScratch scratch(args);
  pack_queries(args, scratch);
  if (can_attend_directly(args) && attend_directly(args, scratch)) return;
  if (args.states == nullptr) {
    begin_state(args, scratch);
    clear_weights(args, scratch);
    attend_blocks(args, scratch, args.block_begin, args.block_end);
    finish_rows(args, scratch);
    return;
  }
  if (takes_runs(args)) {
    return attend_few_rows(args, scratch, args.block_begin, args.block_end);
  }
  for (std::int64_t block = args.block_begin; block < args.block_end; ++block) {
    clear_state(args, scratch);
    attend_blocks(args, scratch, block, block + 1);
    save_state(args, scratch, block);
  }
}

/// Few rows of several heads, block by block: what they read of one lies side by side, and jumps
/// cost as much as a few KiB of reading.
inline void attend_together(const AttendArgs* heads, std::int64_t count) {
  const AttendArgs& first = heads[0];
  const AttendScratch scratch(first);
  float* const others = first.scratch + attend_scratch(first, 1);
  const auto scratch_of = [&](std::int64_t i) {
    return i == 0 ? scratch : scratch.of_other_head(others + (i - 1) * scratch.kept_floats());
  };
  for (std::int64_t i = 0; i < count; ++i) {
    const AttendScratch own = scratch_of(i);
    pack_queries(heads[i], own);
    begin_state(heads[i], own);
    clear_weights(heads[i], own);
  }
  const bool rows = first.pages.k == nullptr;
  for (std::int64_t block = first.block_begin; block < first.block_end; ++block) {
    const KeyRange keys = visible_to_rows(first, first.row_begin, first.rows, block);
    if (keys.begin >= keys.end) continue;
    if (rows && keys.end - keys.begin == kKeyBlock) {
      attend_few_rows_of_heads(heads, count, scratch_of, block);
      continue;
    }
    for (std::int64_t i = 0; i < count; ++i) {
      if (rows) {
        attend_few_rows(heads[i], scratch_of(i), block, block + 1);
      } else {
        attend_few_rows_of_pages(heads[i], scratch_of(i), block, keys);
      }
    }
  }
  for (std::int64_t i = 0; i < count; ++i) finish_rows(heads[i], scratch_of(i));
}

inline void attend(const AttendArgs* heads, std::int64_t count) {
  if (count == 1) return attend_item(heads[0]);
  attend_together(heads, count);
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
