// One work item on the tile route: rows of queries over a range of key blocks.
//   pack Q;  for each key block: pack K, V;  for each query tile: scores -> masks -> block softmax
//   -> weighted values, folded into the running state;  then the outputs (finish.inl.hpp).
#include "kernels/abi/kernel_set.hpp"
#include "kernels/attend/rows.inl.hpp"
#include "kernels/attend/tiny.inl.hpp"
#include "kernels/functions.hpp"
#include "kernels/prefill/attend_rows.inl.hpp"
#include "kernels/prefill/attend_tile.inl.hpp"
#include "kernels/prefill/paged.inl.hpp"
#include "kernels/prefill/prefetch.inl.hpp"
#include "kernels/prefill/score_options.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/state/state.inl.hpp"
#include "kernels/tile/pack.inl.hpp"
#include "kernels/tile/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

RAPT_INLINE PackedBlock pack_block(const AttendItem& item, const AttendScratch& scratch,
                                   std::int64_t block, KeyRange keys) {
  if (in_pages(item)) return pack_paged_block(item, scratch, block, keys);
  const AttendCall& call = *item.call;
  const void* const v = element_at(item.v, call.v_type, block * kKeyBlock * call.v_stride);
  const KeyRows k = key_rows(item, scratch, block, keys);
  pack_keys(k.first, k.stride, keys.begin, keys.end, item.call->head_dim, scratch.k);
  // A copy costs more than it saves for few query rows and for rows of V close to each other; a
  // value_dim that is no multiple of the tile needs the padding.
  const bool in_place = item.rows < call.tuning->pack_values_rows ||
                        (call.v_stride >= 0 && call.v_stride <= call.tuning->near_values_stride);
  if (in_place && call.v_type == ElementType::f32 && call.value_dim % kColumns == 0) {
    return {scratch.k, 0, static_cast<const float*>(v), call.v_stride, kPanel, false};
  }
  with_elements(v, call.v_type, [&](const auto* rows) {
    pack_values(rows, call.v_stride, keys.begin, keys.end, call.value_dim, scratch.v);
  });
  return {scratch.k, 0, scratch.v, kPanel, kKeyBlock * kPanel, false};
}

/// What comes after `block`: the item's next block, or its outputs and the next item's first
/// inputs.
inline Prefetcher prefetch_after(const AttendItem& item, std::int64_t block) {
  Prefetcher prefetcher;
  const KeyRange next = visible_to_rows(item, item.row_begin, item.rows, block + 1);
  if (block + 1 < item.block_end && next.begin < next.end) {
    prefetch_block(item, block + 1, next, prefetcher);
  } else {
    if (item.states == nullptr) prefetch_outputs(item, prefetcher);
    if (item.next != nullptr) {
      const AttendItem& then = *item.next;
      prefetch_queries(then, prefetcher);
      prefetch_block(then, then.block_begin,
                     visible_to_rows(then, then.row_begin, then.rows, then.block_begin),
                     prefetcher);
    }
  }
  std::int64_t steps = 0;
  const std::int64_t most = item.call->tuning->query_rows;
  for (std::int64_t row = 0; row < item.rows; row += most) {
    const std::int64_t rows = item.rows - row < most ? item.rows - row : most;
    const KeyRange keys = visible_to_rows(item, item.row_begin + row, rows, block);
    if (keys.begin == keys.end) continue;
    steps += (rows + kRows - 1) / kRows *
             ((keys.end - keys.begin + item.call->value_dim + kColumns - 1) / kColumns);
  }
  prefetcher.spread_over(steps);
  return prefetcher;
}

/// All rows of the item over blocks [begin, end), from and into the running state in scratch, or,
/// if `direct`, into the outputs.
inline void attend_blocks(const AttendItem& item, const AttendScratch& scratch, std::int64_t begin,
                          std::int64_t end, bool direct = false) {
  for (std::int64_t block = begin; block < end; ++block) {
    const KeyRange keys = visible_to_rows(item, item.row_begin, item.rows, block);
    if (keys.begin == keys.end) continue;
    Prefetcher prefetcher;
    PackedBlock packed;
    bool is_ready = false;  // a mask may hide the block from every row
    for (std::int64_t row = 0; row < item.rows; row += item.call->tuning->query_rows) {
      const QueryTile tile(item, row, block);
      if (tile.keys.begin == tile.keys.end) continue;
      if (!is_ready) {
        prefetcher = prefetch_after(item, block);
        packed = pack_block(item, scratch, block, keys);
        is_ready = true;
      }
      attend_query_tile(item, scratch, tile, packed, direct, prefetcher);
    }
  }
}

/// One row against one block, without the keys that do not exist for it: those outside its range,
/// and those with a score of -inf. Their weight is -0.
inline void attend_block_exactly(const AttendItem& item, const AttendScratch& scratch,
                                 std::int64_t block) {
  const QueryTile tile(item, 0, block);
  const KeyRange seen = tile.keys;
  if (seen.begin == seen.end) return;
  PackedBlock packed = pack_block(item, scratch, block, seen);
  if (packed.v_in_pages) {
    pack_paged_values(item, block, seen, scratch.v);
    packed.v_stride = kPanel;
    packed.v_panel_stride = kKeyBlock * kPanel;
  }
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
  for (std::int64_t j = seen.begin; item.call->v_type == ElementType::i8 && j < seen.end; ++j) {
    if (!hidden[j]) *score_of(scratch.s, j) *= scratch.v_scales[j];
  }
  fold_coefficients(scratch.m, scratch.l, scratch.block_m, scratch.block_l, 1, scratch.a,
                    scratch.b);
  values_of_existing_keys(scratch.s, packed.v + seen.begin * packed.v_stride, packed.v_stride,
                          packed.v_panel_stride, seen.begin, seen.end, item.call->value_dim,
                          {scratch.a, scratch.b, scratch.o, scratch.o_stride});
}

/// Whether the item has one key block, every row sees a key of it, and only out and lse are
/// requested: then no running state is needed (Zen 5, 16 x 16 keys: 0.94 of the time with AVX-512,
/// 0.88 with AVX2; 128 x 128: 1.00 and 0.97). Doing so for the first and last of several blocks
/// gained less than 1 %.
inline bool can_attend_directly(const AttendItem& item) {
  const bool plain = ends_plainly(item) && item.states == nullptr && !continues(item) &&
                     item.call->mask.rows.data == nullptr && item.call->bias.rows.data == nullptr &&
                     item.call->callback == nullptr;
  if (!plain || item.call->value_dim % kColumns != 0) return false;
  if (item.block_begin + 1 != item.block_end) return false;
  const std::int64_t block = item.block_begin;
  const KeyRange first = visible_to_rows(item, item.row_begin, 1, block);
  const KeyRange last = visible_to_rows(item, item.row_begin + item.rows - 1, 1, block);
  return first.begin < first.end && last.begin < last.end;
}

/// Computes such an item. Returns false if a result is not finite.
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

/// Computes any other item that is not split: all blocks, then the outputs.
inline void attend_and_finish(const AttendItem& item, const AttendScratch& scratch) {
  begin_state(item, scratch);
  clear_weights(item, scratch);
  attend_blocks(item, scratch, item.block_begin, item.block_end);
  finish_rows(item, scratch);
}

/// Computes an item of split keys: the state of each block.
inline void attend_into_states(const AttendItem& item, const AttendScratch& scratch) {
  for (std::int64_t block = item.block_begin; block < item.block_end; ++block) {
    clear_state(item, scratch);
    attend_blocks(item, scratch, block, block + 1);
    save_state(item, scratch, block);
  }
}

}  // namespace

/// Computes one row again, exactly. A result of NaN or Inf may come from 0 * NaN at a hidden key;
/// that is so rare that the fast path only checks the result.
void attend_row_exactly(const AttendItem& item, std::int64_t r, float* memory) {
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

void attend(const AttendItem& item, float* memory) {
  if (item.heads == 1 && is_tiny(item)) {
    return attend_tiny(item, memory, [&](std::int64_t r) {
      attend_row_exactly(item, r, AttendScratch(item, memory).after);
    });
  }
  if (item.route == Route::stream) return attend_stream(item, memory);
  const AttendScratch scratch(item, memory);
  pack_queries(item, scratch);
  if (can_attend_directly(item) && attend_directly(item, scratch)) return;
  if (item.states == nullptr) return attend_and_finish(item, scratch);
  attend_into_states(item, scratch);
}

void fold(const FoldArgs& args, float* memory) {
  const AttendScratch scratch(args.item, memory);
  begin_state(args.item, scratch);
  fold_states(args, scratch);
  finish_rows(args.item, scratch);
}

}  // namespace rapt::kernels::RAPT_KERNEL_ISA
