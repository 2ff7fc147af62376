// The stream route, some blocks of keys at a time for all kv heads of the item: packed pages,
// rows of K and V in place, in tensors and in pages.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/decode/keys.inl.hpp"
#include "kernels/decode/panels.inl.hpp"
#include "kernels/decode/values.inl.hpp"
#include "kernels/prefill/attend_rows.inl.hpp"
#include "kernels/prefill/attend_tile.inl.hpp"
#include "kernels/prefill/paged.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/tile/pack.inl.hpp"
#include "kernels/tile/scores.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The kv heads of an item, each as an item of its own with scratch of its own.
struct StreamHeads {
  const AttendItem* all;  // the item itself
  std::int64_t count;
  const AttendItem* items;
  const AttendScratch* scratch;

  /// For block n of those whose weights are kept at once; own: its scratch, unless it is the first.
  StreamHeads of_block(std::int64_t n, AttendScratch& own) const {
    if (n == 0) return *this;
    own = scratch->of_part(n);
    return {all, 1, items, &own};
  }
};

/// Blocks of a single head whose keys are read before the values of the first: each jump between K
/// and V costs as much as reading some KiB (Zen 5, D1, AVX-512: 0.94 of the time of block by
/// block).
constexpr std::int64_t kBlocksAtOnce = kItemHeads;

/// Whether masks that differ by head hide a block from every row of every head. Out of line: rare.
RAPT_NOINLINE bool all_hide(const StreamHeads& heads, std::int64_t block) {
  for (std::int64_t h = 0; h < heads.count; ++h) {
    const QueryTile own(heads.items[h], 0, block);
    if (own.keys.begin < own.keys.end) return false;
  }
  return true;
}

/// Whether any row of any head sees keys of the tile's block.
inline bool is_seen(const StreamHeads& heads, const QueryTile& tile) {
  if (tile.keys.begin == tile.keys.end) return false;
  return !(masks_differ(*heads.all) && all_hide(heads, tile.block));
}

/// Scores of keys [begin, end) of a block by way of packed panels; others of their column tiles are
/// overwritten. k: key 0 of the block, unless it is in pages.
inline void packed_key_scores(const AttendItem& item, const AttendScratch& scratch,
                              std::int64_t block, const KeyRows& k, KeyRange keys) {
  const std::int64_t head_dim = item.call->head_dim;
  if (keys.begin == keys.end) return;
  if (in_pages(item)) {
    pack_paged_keys(item, scratch, block, keys);
  } else {
    pack_keys(k.first, k.stride, keys.begin, keys.end, head_dim, scratch.k);
  }
  for (std::int64_t j = keys.begin / kColumns * kColumns; j < keys.end; j += kColumns) {
    const float* panel = scratch.k + j / kPanel * kPanel * head_dim + j % kPanel;
    with_rows<ScoreTile>(item.rows, scratch.q, panel, head_dim, j, scratch.s, nullptr);
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

/// Where row j of a block of K or V lies: in a tensor, or in pages of whole lines of keys.
struct BlockRows {
  const float* first;  // row 0 of the block; not in pages
  std::int64_t stride;
  const void* const* pages = nullptr;
  std::int64_t key = 0, page_keys = 0;  // the block's first key; keys of a page
  std::int64_t offset = 0;              // floats from a page's beginning to its row 0

  RAPT_INLINE const float* row(std::int64_t j) const {
    if (pages == nullptr) return first + j * stride;
    return static_cast<const float*>(pages[(key + j) / page_keys]) + offset +
           (key + j) % page_keys * stride;
  }
  BlockRows of_next_block() const {
    BlockRows next = *this;
    if (pages == nullptr) next.first += kKeyBlock * stride;
    next.key += kKeyBlock;
    return next;
  }
  /// The end of the rows from j on that lie `stride` apart.
  RAPT_INLINE std::int64_t end_of(std::int64_t j) const {
    return pages == nullptr ? kKeyBlock : j + page_keys - (key + j) % page_keys;
  }
};

/// Rows [j, end) of heads [head, head_end): what is processed while as much is prefetched.
struct StreamStep {
  std::int64_t head, head_end;
  std::int64_t j, end;
};

/// Rows of K or V of a block, of all heads of the item, in steps of ascending addresses. Heads that
/// are side by side in each row are in the same steps; where a page has the rows of one head after
/// those of the other, a step is of one head.
struct StreamRows {
  BlockRows rows;
  std::int64_t heads, head_stride;
  bool by_head;                // steps are of one head
  std::int64_t width;          // of a row of a step
  std::int64_t step = kLanes;  // rows
  bool prefetched = true;

  /// A step of several heads is as short as can be, as it is as much as all of them read.
  StreamRows(const Tuning& tuning, std::int64_t heads_, std::int64_t head_stride_,
             const BlockRows& block, std::int64_t dim)
      : rows(block),
        heads(heads_),
        head_stride(head_stride_),
        by_head(heads_ == 1 || head_stride_ != dim),
        width(by_head ? dim : heads_ * dim) {
    if (!by_head) return;
    constexpr std::int64_t kTwoVectors = 2 * kVecLanes;
    const std::int64_t floats = tuning.stream_floats;
    if (step < kTwoVectors && kTwoVectors * dim <= 2 * floats) step = kTwoVectors;
    while (2 * step * dim <= floats && step < kKeyBlock) step *= 2;
  }

  bool is_dense() const { return width == rows.stride; }

  /// The step of `head` that begins with row j.
  StreamStep step_at(std::int64_t head, std::int64_t j, std::int64_t last) const {
    std::int64_t end = (j / step + 1) * step;
    if (rows.end_of(j) < end) end = rows.end_of(j);
    return {head, by_head ? head + 1 : heads, j, end < last ? end : last};
  }

  /// The step after s in rows [first, last); it begins with `last` if there is none.
  StreamStep after(const StreamStep& s, std::int64_t first, std::int64_t last) const {
    if (heads == 1 || !by_head) return step_at(0, s.end, last);
    const std::int64_t page_end = rows.end_of(s.j), begin = page_end - rows.page_keys;
    if (s.end < page_end && s.end < last) return step_at(s.head, s.end, last);
    if (s.head_end < heads) return step_at(s.head_end, begin < first ? first : begin, last);
    return step_at(0, page_end < last ? page_end : last, last);
  }

  /// The first step of the block after this one.
  RowsAhead next_block() const { return ahead(step_at(0, kKeyBlock, 2 * kKeyBlock)); }

  /// From the first row of a step on. Dense rows are one.
  RowsAhead ahead(const StreamStep& s) const {
    if (!prefetched) return {};
    return {rows.row(s.j) + s.head * head_stride, is_dense() ? kUnlimited : width, rows.stride};
  }
};

inline StreamRows stream_keys(const StreamHeads& heads, const QueryTile& tile) {
  const AttendItem& item = heads.items[0];
  const AttendCall& call = *item.call;
  const std::int64_t key = tile.block * kKeyBlock;
  if (in_pages(item)) {
    return {*call.tuning,
            heads.count,
            call.k_head_stride,
            {nullptr, call.k_stride, item.sequence->k_pages, key, call.page_keys, item.k_offset},
            call.head_dim};
  }
  const KeyRows k = key_rows(item, heads.scratch[0], tile.block, tile.keys);
  return {*call.tuning, heads.count, call.k_head_stride, {k.first, k.stride}, call.head_dim};
}

/// Rows of several heads: a line of 16 such rows, often 4 KiB apart, would not fit into its set of
/// L1. Short dense rows whose sums fit into the registers are read in address order in one go,
/// which the hardware prefetchers follow by themselves.
inline StreamRows stream_values(const StreamHeads& heads, std::int64_t block) {
  const AttendItem& item = heads.items[0];
  const AttendCall& call = *item.call;
  const std::int64_t key = block * kKeyBlock;
  BlockRows rows{nullptr, call.v_stride,  item.sequence->v_pages,
                 key,     call.page_keys, item.v_offset};
  if (!in_pages(item))
    rows = {static_cast<const float*>(item.v) + key * call.v_stride, call.v_stride};
  StreamRows v(*call.tuning, heads.count, call.v_head_stride, rows, call.value_dim);
  if (!v.by_head) v.step = kLanes / 2;
  const std::int64_t part = part_vectors(static_cast<int>(item.rows)) * kVecLanes;
  if (v.is_dense() && v.width <= call.tuning->short_value_row && v.width <= part) {
    v.prefetched = false;
    v.step = kKeyBlock;
  }
  return v;
}

/// then: what is read after the block.
inline void key_scores(const StreamHeads& heads, const QueryTile& tile, const StreamRows& k,
                       RowsAhead then) {
  const AttendCall& call = *heads.items[0].call;
  const WholeKeys whole(tile.keys);
  for (std::int64_t h = 0; h < heads.count; ++h) {
    const AttendItem& item = heads.items[h];
    KeyRows own{k.rows.first, k.rows.stride};
    if (!in_pages(item)) own.first += h * call.k_head_stride;
    packed_key_scores(item, heads.scratch[h], tile.block, own, {tile.keys.begin, whole.begin});
    packed_key_scores(item, heads.scratch[h], tile.block, own, {whole.end, tile.keys.end});
  }
  StreamStep next{};
  for (StreamStep at = k.step_at(0, whole.begin, whole.end); at.j < whole.end; at = next) {
    next = k.after(at, whole.begin, whole.end);
    const float* const row = k.rows.row(at.j);
    RowsAhead ahead = next.j < whole.end ? k.ahead(next) : then;
    for (std::int64_t h = at.head; h < at.head_end; ++h) {
      with_rows<KeyRowScores, kStreamRows>(
          tile.rows,
          KeyRowsArgs{heads.scratch[h].q, row + h * call.k_head_stride, k.rows.stride,
                      call.head_dim, tile.rows, at.j, at.end - at.j, heads.scratch[h].s},
          ahead);
    }
  }
}

inline void add_values(const StreamHeads& heads, KeyRange keys, const StreamRows& v,
                       RowsAhead then) {
  const AttendCall& call = *heads.items[0].call;
  const std::int64_t rows = heads.items[0].rows;
  const auto [begin, last] = keys;
  StreamStep next{};
  for (StreamStep at = v.step_at(0, begin, last); at.j < last; at = next) {
    next = v.after(at, begin, last);
    const float* const row = v.rows.row(at.j);
    RowsAhead ahead = next.j < last ? v.ahead(next) : then;
    for (std::int64_t h = at.head; h < at.head_end; ++h) {
      const AttendScratch& own = heads.scratch[h];
      with_rows<ValueRowSums, kStreamRows>(
          rows,
          ValueRowsArgs{own.s, row + h * call.v_head_stride, v.rows.stride, call.value_dim, rows,
                        at.j, at.end, at.j == begin, at.end == last, own.v, own.a, own.b, own.o,
                        own.o_stride},
          ahead);
    }
  }
}

/// Up to `at_once` blocks from `first` on: their keys and weights, then their values.
inline void stream_blocks_of_rows(const StreamHeads& heads, std::int64_t first,
                                  std::int64_t at_once) {
  const AttendItem& item = *heads.all;
  const std::int64_t last = first + at_once < item.block_end ? first + at_once : item.block_end;
  StreamRows v = stream_values(heads, first);
  AttendScratch own;
  KeyRange seen[kBlocksAtOnce];
  RowsAhead next_keys;
  for (std::int64_t block = first; block < last; ++block) {
    const QueryTile tile(item, 0, block);
    KeyRange& keys = seen[block - first];
    keys = is_seen(heads, tile) ? tile.keys : KeyRange{0, 0};
    if (keys.begin == keys.end) continue;
    const StreamHeads part = heads.of_block(block - first, own);
    const StreamRows k = stream_keys(part, tile);
    next_keys = k.next_block();
    key_scores(part, tile, k,
               block + 1 < last ? next_keys : v.ahead(v.step_at(0, seen->begin, seen->end)));
    for (std::int64_t h = 0; h < part.count; ++h) {
      row_maxima(part.items[h], part.scratch[h], tile);
      tile_weights(part.items[h], part.scratch[h], tile);
    }
  }
  for (std::int64_t block = first; block < last; ++block, v.rows = v.rows.of_next_block()) {
    const KeyRange keys = seen[block - first];
    if (keys.begin == keys.end) continue;
    RowsAhead then;
    if (v.prefetched && block + 1 < item.block_end) {
      then = block + 1 < last ? v.next_block() : next_keys;
    }
    add_values(heads.of_block(block - first, own), keys, v, then);
  }
}

/// A block of packed pages of T.
template <class T>
inline void stream_block_of_panels(const StreamHeads& heads, std::int64_t block, const T* type) {
  const QueryTile tile(*heads.all, 0, block);
  if (!is_seen(heads, tile)) return;
  for (std::int64_t h = 0; h < heads.count; ++h) {
    const AttendItem& item = heads.items[h];
    const AttendScratch& own = heads.scratch[h];
    copy_scales(item, own, block, tile.keys);
    with_rows<PanelScores, kStreamRows>(tile.rows, item, own, first_page(item, block), tile.keys,
                                        type);
    if (item.call->k_type == ElementType::i8) scale_keys(own, tile, own.k_scales);
    row_maxima(item, own, tile);
    tile_weights(item, own, tile);
    with_rows<PanelValues, kStreamRows>(tile.rows, item, own, block, tile.keys, type);
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
