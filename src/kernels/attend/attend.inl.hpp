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

inline void pack_queries(const AttendItem& item, const AttendScratch& scratch) {
  for (std::int64_t r = 0; r < item.rows; ++r) {
    const RowPosition at = position_of(item, item.row_begin + r);
    pack_scaled_row(query_row(item, scratch, at), item.call->head_dim, item.call->scale,
                    scratch.q + r / kRows * scratch.q_tile + r % kRows * kLanes);
  }
}

RAPT_INLINE PackedBlock pack_block(const AttendItem& item, const AttendScratch& scratch,
                                   std::int64_t block, KeyRange keys) {
  if (in_pages(item)) return pack_paged_block(item, scratch, block, keys);
  const float* v = item.v + block * kKeyBlock * item.call->v_stride;
  const KeyRows k = key_rows(item, scratch, block, keys);
  pack_keys(k.first, k.stride, keys.begin, keys.end, item.call->head_dim, scratch.k);
  // Few rows do not repay the copy, nor do rows of V that lie close together; a value_dim that is
  // no whole number of tiles needs the padding.
  const bool in_place = item.rows < kPackValuesRows ||
                        (item.call->v_stride >= 0 && item.call->v_stride <= kNearValuesStride);
  if (in_place && item.call->value_dim % kColumns == 0) {
    return {scratch.k, 0, v, item.call->v_stride, kPanel, false};
  }
  pack_values(v, item.call->v_stride, keys.begin, keys.end, item.call->value_dim, scratch.v);
  return {scratch.k, 0, scratch.v, kPanel, kKeyBlock * kPanel, false};
}

/// What comes after `block`: the outputs of rows [first, last), which it is the last block of, the
/// item's next block or else the next item's first inputs. last: 0 where outputs are not written
/// directly; those of all rows then come after the last block.
inline Prefetcher prefetch_after(const AttendItem& item, std::int64_t block, std::int64_t first,
                                 std::int64_t last) {
  Prefetcher prefetcher;
  if (first < last) prefetch_outputs(item, first, last < item.rows ? last : item.rows, prefetcher);
  const KeyRange next = visible_to_rows(item, item.row_begin, item.rows, block + 1);
  if (block + 1 < item.block_end && next.begin < next.end) {
    prefetch_block(item, block + 1, next, prefetcher);
  } else {
    if (item.states == nullptr && last == 0) prefetch_outputs(item, 0, item.rows, prefetcher);
    if (item.next != nullptr) {
      const AttendItem& then = *item.next;
      prefetch_queries(then, prefetcher);
      prefetch_block(then, then.block_begin,
                     visible_to_rows(then, then.row_begin, then.rows, then.block_begin),
                     prefetcher);
    }
  }
  std::int64_t steps = 0;
  for (std::int64_t row = 0; row < item.rows; row += kQueryRows) {
    const std::int64_t rows = item.rows - row < kQueryRows ? item.rows - row : kQueryRows;
    const KeyRange keys = visible_to_rows(item, item.row_begin + row, rows, block);
    if (keys.begin == keys.end) continue;
    steps += (rows + kRows - 1) / kRows *
             ((keys.end - keys.begin + item.call->value_dim + kColumns - 1) / kColumns);
  }
  prefetcher.spread_over(steps);
  return prefetcher;
}

/// Whether any row of the row tile at `row` sees a key of the block.
RAPT_INLINE bool row_tile_sees(const AttendItem& item, std::int64_t row, std::int64_t block) {
  if (block >= item.block_end) return false;
  const std::int64_t rows = item.rows - row < kRows ? item.rows - row : kRows;
  const KeyRange seen = visible_to_rows(item, item.row_begin + row, rows, block);
  return seen.begin < seen.end;
}

/// All rows of the item over blocks [begin, end), from and into the running state in scratch; when
/// `direct`, into the outputs.
inline void attend_blocks(const AttendItem& item, const AttendScratch& scratch, std::int64_t begin,
                          std::int64_t end, bool direct = false) {
  if (takes_runs(item)) {
    return attend_few_rows(item, scratch, begin, end);
  }
  // What a row sees begins and ends no earlier than what the row before it does, and begins at most
  // a key later: what the rows of a tile see has no gaps.
  DirectRows direct_rows{direct ? 0 : item.rows, 0};
  for (std::int64_t block = begin; block < end; ++block) {
    const KeyRange keys = visible_to_rows(item, item.row_begin, item.rows, block);
    if (keys.begin == keys.end) continue;
    if (item.route == Route::stream) {  // over pages
      attend_few_rows_of_pages(item, scratch, block, keys);
      continue;
    }
    const std::int64_t ended = direct_rows.ended;
    while (direct && direct_rows.ended < item.rows &&
           !row_tile_sees(item, direct_rows.ended, block + 1)) {
      direct_rows.ended += kRows;
    }
    Prefetcher prefetcher = prefetch_after(item, block, ended, direct_rows.ended);
    const PackedBlock packed = pack_block(item, scratch, block, keys);
    for (std::int64_t row = 0; row < item.rows; row += kQueryRows) {
      const QueryTile tile(item, row, block);
      if (tile.keys.begin == tile.keys.end) continue;
      attend_query_tile(item, scratch, tile, packed,
                        {direct_rows.begun - row, direct_rows.ended - row}, prefetcher);
    }
    if (block + 1 == end) break;
    while (direct_rows.begun < item.rows && row_tile_sees(item, direct_rows.begun, block)) {
      direct_rows.begun += kRows;
    }
  }
}

/// One row against one block, leaving out what does not exist for it: keys outside its range, and
/// keys whose score is -inf. They get a weight of -0.
inline void attend_block_exactly(const AttendItem& item, const AttendScratch& scratch,
                                 std::int64_t block) {
  const QueryTile tile(item, 0, block);
  const KeyRange seen = tile.keys;
  if (seen.begin == seen.end) return;
  PackedBlock packed = pack_block(item, scratch, block, seen);
  if (packed.v_in_pages) pack_paged_values(item, block, seen, scratch.v);
  Prefetcher nothing;
  tile_scores(item, scratch, tile, packed, nothing);
  if (changes_scores(item)) tile_score_options(item, scratch, tile);
  bool hidden[kKeyBlock];
  for (std::int64_t j = seen.begin; j < seen.end; ++j) {
    hidden[j] = *score_of(scratch.s, j) == -kInfinity;
  }
  scratch.block_m[0] = block_max(scratch.s, seen);
  scratch.block_l[0] = block_weights(scratch.s, seen, seen, scratch.block_m[0]);
  for (std::int64_t j = seen.begin; j < seen.end; ++j) {
    if (hidden[j]) *score_of(scratch.s, j) = -0.0f;
  }
  if (item.call->weights.data != nullptr) keep_weights(item, scratch, 0, block, seen, scratch.s);
  fold_coefficients(scratch.m, scratch.l, scratch.block_m, scratch.block_l, 1, scratch.a,
                    scratch.b);
  values_of_existing_keys(scratch.s, packed.v + seen.begin * packed.v_stride, packed.v_stride,
                          packed.v_panel_stride, seen.begin, seen.end, item.call->value_dim,
                          {scratch.a, scratch.b, scratch.o, scratch.o_stride});
}

/// One row again, exactly. A row that came out NaN or Inf may owe it to 0 * NaN at a key that it
/// cannot see; so rare that the fast path only looks at the result.
inline void attend_row_exactly(const AttendItem& item, std::int64_t r, float* memory) {
  AttendItem one = item;
  one.row_begin = item.row_begin + r;
  one.rows = 1;
  const AttendScratch scratch(one, memory);
  pack_queries(one, scratch);
  begin_state(one, scratch);
  clear_weights(one, scratch);
  for (std::int64_t block = 0; block < blocks_of(item); ++block) {
    attend_block_exactly(one, scratch, block);
  }
  finish_row(one, scratch, 0, true);
}

inline void finish_rows(const AttendItem& item, const AttendScratch& scratch) {
  if (ends_plainly(item) && finish_plain_rows(item, scratch)) return;
  for (std::int64_t r = 0; r < item.rows; ++r) {
    if (!finish_row(item, scratch, r, false)) attend_row_exactly(item, r, scratch.after);
  }
}

/// Whether all rows of the item see a key and end in nothing but out and lse, so that sums need not
/// be cleared before a row's first block nor be read again after its last one.
inline bool can_attend_directly(const AttendItem& item) {
  const bool plain = ends_plainly(item) && item.states == nullptr && !continues(item) &&
                     item.call->mask.rows.data == nullptr && item.call->bias.rows.data == nullptr &&
                     item.call->callback == nullptr;
  if (!plain || item.route == Route::stream || item.call->value_dim % kColumns != 0) return false;
  if (item.block_begin == item.block_end) return false;
  const KeyRange first = visible_to_rows(item, item.row_begin, 1, item.block_begin);
  const KeyRange last =
      visible_to_rows(item, item.row_begin + item.rows - 1, 1, item.block_end - 1);
  return first.begin < first.end && last.begin < last.end;
}

/// Such an item. Returns false when something is not finite.
inline bool attend_directly(const AttendItem& item, const AttendScratch& scratch) {
  clear_rows(scratch);
  for (int i = 0; i < kLanes; i += kVecLanes) store(scratch.largest + i, Vec(0.0f));
  attend_blocks(item, scratch, item.block_begin, item.block_end, true);
  if (!all_below(load(scratch.largest), Vec(kInfinity))) return false;
  for (std::int64_t r = 0; item.call->lse.data != nullptr && r < item.rows; ++r) {
    write_lse(item, position_of(item, item.row_begin + r), scratch.m[r], scratch.l[r]);
  }
  return true;
}

inline void attend_head(const AttendItem& item, float* memory) {
  if (is_tiny(item)) {
    return attend_tiny(item, memory, [&](std::int64_t r) {
      attend_row_exactly(item, r, AttendScratch(item, memory).after);
    });
  }
  const AttendScratch scratch(item, memory);
  pack_queries(item, scratch);
  if (can_attend_directly(item) && attend_directly(item, scratch)) return;
  if (item.states == nullptr) {
    begin_state(item, scratch);
    clear_weights(item, scratch);
    attend_blocks(item, scratch, item.block_begin, item.block_end);
    finish_rows(item, scratch);
    return;
  }
  if (takes_runs(item)) {
    return attend_few_rows(item, scratch, item.block_begin, item.block_end);
  }
  for (std::int64_t block = item.block_begin; block < item.block_end; ++block) {
    clear_state(item, scratch);
    attend_blocks(item, scratch, block, block + 1);
    save_state(item, scratch, block);
  }
}

/// Kv head h of an item of several.
RAPT_INLINE AttendItem head_of(const AttendItem& item, std::int64_t h) {
  const AttendCall& call = *item.call;
  AttendItem head = item;
  head.q += h * call.group * call.q_head_stride;
  head.out += h * call.group * call.out_head_stride;
  head.first_head += h * call.group;
  if (in_pages(item)) {
    head.k_offset += h * call.k_head_stride;
    head.v_offset += h * call.v_head_stride;
  } else {
    head.k += h * call.k_head_stride;
    head.v += h * call.v_head_stride;
  }
  head.heads = 1;
  return head;
}

/// Several heads on the stream, block by block: what is read of them for a block adjoins, and a
/// jump costs as much as reading a few KiB.
inline void attend_heads(const AttendItem& item, float* memory) {
  const std::int64_t count = item.heads;
  AttendItem heads[kItemHeads];
  for (std::int64_t i = 0; i < count; ++i) heads[i] = head_of(item, i);
  const AttendScratch scratch(item, memory);
  float* const others = scratch.after + AttendScratch(item, 1, nullptr).floats;
  const auto scratch_of = [&](std::int64_t i) {
    return i == 0 ? scratch : scratch.of_other_head(others + (i - 1) * scratch.kept_floats());
  };
  for (std::int64_t i = 0; i < count; ++i) {
    const AttendScratch own = scratch_of(i);
    pack_queries(heads[i], own);
    begin_state(heads[i], own);
    clear_weights(heads[i], own);
  }
  const bool rows = !in_pages(item);
  for (std::int64_t block = item.block_begin; block < item.block_end; ++block) {
    const KeyRange keys = visible_to_rows(item, item.row_begin, item.rows, block);
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

inline void attend(const AttendItem& item, float* memory) {
  if (item.heads == 1) return attend_head(item, memory);
  attend_heads(item, memory);
}

/// Folds the states of all blocks, left to right, and writes the outputs.
inline void fold(const FoldArgs& args, float* memory) {
  const AttendScratch scratch(args.item, memory);
  begin_state(args.item, scratch);
  fold_states(args, scratch);
  finish_rows(args.item, scratch);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
