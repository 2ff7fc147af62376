// The stream route, a block of keys at a time for all kv heads of the item: packed pages by the
// tiles of prefill, rows of K and V in place.
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

/// The kv heads of an item, each as an item of its own with scratch of its own.
struct StreamHeads {
  std::int64_t count;
  const AttendItem* items;
  const AttendScratch* scratch;
};

/// Scores of keys [begin, end) of a block by way of packed panels; others of their column tiles are
/// overwritten.
inline void packed_key_scores(const AttendItem& item, const AttendScratch& scratch,
                              const KeyRows& k, std::int64_t begin, std::int64_t end) {
  const std::int64_t head_dim = item.call->head_dim;
  if (begin == end) return;
  pack_keys(k.first, k.stride, begin, end, head_dim, scratch.k);
  for (std::int64_t j = begin / kColumns * kColumns; j < end; j += kColumns) {
    const float* panel = scratch.k + j / kPanel * kPanel * head_dim + j % kPanel;
    with_rows<ScoreTile>(item.rows, scratch.q, panel, head_dim, j, scratch.s, nullptr,
                         NoReadAhead{});
  }
}

/// The keys of a block that make whole vectors; those before and after them are packed.
struct WholeKeys {
  std::int64_t begin, end;

  explicit WholeKeys(KeyRange keys)
      : begin(round_up(keys.begin, kVecLanes)), end(keys.end / kVecLanes * kVecLanes) {
    // Packing two parts of one column tile would overwrite the first one's scores. With a whole
    // vector between them they are in two.
    static_assert(kVecLanes == 1 || kVectors <= 2);
    if (end <= begin) begin = end = keys.end;
  }
};

/// Rows of K or V of a block, of all heads of the item. A step of them is processed while the next
/// one is prefetched.
struct StreamRows {
  const float* first;  // of the block
  std::int64_t width, stride;
  std::int64_t step = kLanes;  // rows
  bool prefetched = true;

  /// A step of several heads is as short as can be, as it is as much as all of them read.
  StreamRows(std::int64_t heads, const float* block, std::int64_t dim, std::int64_t row_stride)
      : first(block), width(heads * dim), stride(row_stride) {
    if (heads > 1) return;
    constexpr std::int64_t kFloats = kTuning.stream_floats, kTwoVectors = 2 * kVecLanes;
    if (step < kTwoVectors && kTwoVectors * dim <= 2 * kFloats) step = kTwoVectors;
    while (2 * step * dim <= kFloats && step < kKeyBlock) step *= 2;
  }

  /// From row j on. Dense rows are one.
  RowsAhead ahead(std::int64_t j) const {
    if (!prefetched) return {};
    return {first + j * stride, width == stride ? kUnlimited : width, stride};
  }
};

/// V of a block. Short dense rows whose sums fit into the registers are read in address order in
/// one go, which the hardware prefetchers follow by themselves.
inline StreamRows value_rows(const StreamHeads& heads, std::int64_t block) {
  const AttendItem& item = heads.items[0];
  const AttendCall& call = *item.call;
  StreamRows rows(heads.count, item.v + block * kKeyBlock * call.v_stride, call.value_dim,
                  call.v_stride);
  const std::int64_t part = part_vectors(static_cast<int>(item.rows)) * kVecLanes;
  if (rows.width == rows.stride && rows.width <= kTuning.short_value_row && rows.width <= part) {
    rows.prefetched = false;
    rows.step = kKeyBlock;
  }
  return rows;
}

inline void stream_scores(const StreamHeads& heads, const QueryTile& tile, const StreamRows& v) {
  const AttendItem& item = heads.items[0];
  const AttendCall& call = *item.call;
  const KeyRows rows = key_rows(item, heads.scratch[0], tile.block, tile.keys);
  const StreamRows k(heads.count, rows.first, call.head_dim, rows.stride);
  const WholeKeys whole(tile.keys);
  for (std::int64_t h = 0; h < heads.count; ++h) {
    const KeyRows own{k.first + h * call.k_head_stride, k.stride};
    packed_key_scores(item, heads.scratch[h], own, tile.keys.begin, whole.begin);
    packed_key_scores(item, heads.scratch[h], own, whole.end, tile.keys.end);
  }
  for (std::int64_t j = whole.begin; j < whole.end; j += k.step) {
    const bool last = j + k.step >= whole.end;
    const std::int64_t keys = last ? whole.end - j : k.step;
    RowsAhead ahead = last ? v.ahead(tile.keys.begin) : k.ahead(j + k.step);
    for (std::int64_t h = 0; h < heads.count; ++h) {
      with_rows<KeyRowScores, kStreamRows>(
          item.rows,
          KeyRowsArgs{heads.scratch[h].q, k.first + j * k.stride + h * call.k_head_stride, k.stride,
                      call.head_dim, item.rows, j, keys, heads.scratch[h].s},
          ahead);
    }
  }
}

inline void stream_values(const StreamHeads& heads, const QueryTile& tile, const StreamRows& v) {
  const AttendItem& item = heads.items[0];
  const AttendCall& call = *item.call;
  for (std::int64_t j = tile.keys.begin; j < tile.keys.end;) {
    const std::int64_t stop = (j / v.step + 1) * v.step;
    const bool last = stop >= tile.keys.end;
    const std::int64_t end = last ? tile.keys.end : stop;
    RowsAhead ahead = v.ahead(stop);
    for (std::int64_t h = 0; h < heads.count; ++h) {
      const AttendScratch& own = heads.scratch[h];
      with_rows<ValueRowSums, kStreamRows>(
          item.rows,
          ValueRowsArgs{own.s, v.first + j * v.stride + h * call.v_head_stride, v.stride,
                        call.value_dim, item.rows, j, end, j == tile.keys.begin, last, own.v, own.a,
                        own.b, own.o, own.o_stride},
          ahead);
    }
    j = end;
  }
}

inline void stream_block_of_rows(const StreamHeads& heads, const QueryTile& tile) {
  const StreamRows v = value_rows(heads, tile.block);
  stream_scores(heads, tile, v);
  for (std::int64_t h = 0; h < heads.count; ++h) {
    row_maxima(heads.items[h], heads.scratch[h], tile);
    tile_weights(heads.items[h], heads.scratch[h], tile);
  }
  stream_values(heads, tile, v);
}

inline void stream_block_of_pages(const StreamHeads& heads, const QueryTile& tile) {
  for (std::int64_t h = 0; h < heads.count; ++h) {
    const AttendItem& item = heads.items[h];
    const AttendScratch& own = heads.scratch[h];
    PanelStream stream;
    attend_query_tile(item, own, tile, pack_paged_block(item, own, tile.block, tile.keys), false,
                      stream);
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
