// A work item of few rows: one key block after the other, K and V as they lie (few_rows.inl.hpp).
#pragma once

#include "kernels/attend_rows.inl.hpp"
#include "kernels/attend_scratch.inl.hpp"
#include "kernels/few_rows.inl.hpp"
#include "kernels/few_rows_panels.inl.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/pack.inl.hpp"
#include "kernels/paged.inl.hpp"
#include "kernels/query_tile.inl.hpp"
#include "kernels/scores.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The scores of few rows, from K as it lies; the few keys that make no whole vector by way of
/// packed panels.
inline void few_rows_scores(const AttendArgs& args, const AttendScratch& scratch,
                            const QueryTile& tile) {
  const KeyRows k = key_rows(args, scratch, tile.block, tile.keys);
  const std::int64_t keys = keys_of_lane(tile.keys.end - tile.keys.begin);
  const std::int64_t rest = tile.keys.begin + keys * kVecLanes;
  // First, since its column tile begins with keys of the vectors.
  if (rest < tile.keys.end) {
    pack_keys(k.first, k.stride, rest, tile.keys.end, args.head_dim, scratch.k);
    for (std::int64_t j = rest / kColumns * kColumns; j < tile.keys.end; j += kColumns) {
      const float* panel = scratch.k + j / kPanel * kPanel * args.head_dim + j % kPanel;
      with_rows<ScoreTile>(tile.rows, scratch.q, panel, args.head_dim, j, scratch.s, nullptr);
    }
  }
  if (keys == 0) return;
  const float* const first = k.first + tile.keys.begin * k.stride;
  if (takes_groups(tile.rows, k.stride, args.head_dim, tile.keys.begin)) {
    with_rows<KeyGroups, kFewRows>(tile.rows, scratch.q, first, keys, args.head_dim, scratch.s,
                                   tile.keys.begin);
    return;
  }
  with_rows<KeyStreams, kFewRows>(tile.rows, scratch.q, first, k.stride, keys, args.head_dim,
                                  scratch.v);
  store_streams(scratch.v, tile.rows, keys, tile.keys.begin, scratch.s);
}

/// Whether the item takes K and V as they lie. Its scores pass through the memory of V's panels,
/// which without values there is none of.
RAPT_INLINE bool has_few_rows(const AttendArgs& args) {
  if (args.rows > kFewRows || args.value_dim <= 0 || args.value_dim % kVecLanes != 0) return false;
  return args.pages.k == nullptr ? args.head_dim % kVecLanes == 0 : args.pages.packed != 0;
}

/// All rows of an item that has few against one block of packed pages.
inline void attend_few_rows_of_pages(const AttendArgs& args, const AttendScratch& scratch,
                                     std::int64_t block, KeyRange keys) {
  QueryTile tile(args, 0, block);
  tile.whole = false;  // no maxima are collected with these scores
  const PageTable& pages = args.pages;
  const PackedBlock packed = paged_keys(args, scratch, block, keys);
  HotLines hot{scratch, tile.rows};
  for (std::int64_t j = keys.begin / kPanel * kPanel; j < keys.end; j += kPanel) {
    if (j + kPanel >= keys.end) hot.lines = LineRange({keys.begin, j});
    panel_scores(scratch.q, key_panel(args, packed, j), tile.rows, args.head_dim,
                 score_of(scratch.s, j), hot);
  }
  tile_weights(args, scratch, tile);
  const FoldInto fold{scratch.a, scratch.b, scratch.o, scratch.o_stride};
  for_page_pieces(pages, block, tile.keys, [&](const PagePiece& piece) {
    panel_values(scratch.s, value_panels(args, piece), value_panel_stride(args),
                 {piece.begin, piece.end}, tile.keys, tile.rows, args.value_dim, scratch.v, fold);
  });
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
  const FoldInto fold{scratch.a, scratch.b, scratch.o, scratch.o_stride};
  few_rows_values(args.value_dim, scratch.s, v, args.v_stride, tile.keys.begin, tile.keys.end,
                  tile.rows, args.value_dim, scratch.v, fold);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
