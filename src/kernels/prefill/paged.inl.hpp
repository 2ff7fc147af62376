// Keys and values in pages: packed pages are read in place, pages of rows are packed page by page.
// A multiply-add chain continues across the pages of a block, in ascending keys, so that paging
// changes no bit.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/prefill/prefetch.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/tile/pack.inl.hpp"
#include "kernels/tile/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

RAPT_INLINE bool in_pages(const AttendItem& item) { return item.call->storage != KeyStorage::rows; }

RAPT_INLINE bool is_packed(const AttendItem& item) {
  return item.call->storage == KeyStorage::packed_pages;
}

/// The keys, and the values, of a page of the item's sequence.
RAPT_INLINE const float* page_keys(const AttendItem& item, std::int64_t page) {
  return item.sequence->k_pages[page] + item.k_offset;
}

RAPT_INLINE const float* page_values(const AttendItem& item, std::int64_t page) {
  return item.sequence->v_pages[page] + item.v_offset;
}

/// A block of K and V, packed or in place.
struct PackedBlock {
  const float* k;           // panels; null if they are in pages
  std::int64_t first_page;  // the block's first page, if k is null
  const float* v;
  std::int64_t v_stride, v_panel_stride;
  bool v_in_pages;  // in pages instead of at v
};

/// The panel of key j of the block.
RAPT_INLINE const float* key_panel(const AttendItem& item, const PackedBlock& packed,
                                   std::int64_t j) {
  if (packed.k != nullptr) return packed.k + j / kPanel * kPanel * item.call->head_dim;
  const std::int64_t keys = item.call->page_keys;
  return page_keys(item, packed.first_page + j / keys) +
         j % keys / kPanel * kPanel * item.call->head_dim;
}

/// Keys [begin, end) of a block within one page, the first at `row` of it.
struct PagePiece {
  std::int64_t page, row;
  std::int64_t begin, end;
};

/// Calls use(piece) for the pieces of keys [begin, end) of a block, in ascending order.
template <class F>
RAPT_INLINE void for_page_pieces(const AttendItem& item, std::int64_t block, KeyRange keys,
                                 const F& use) {
  const std::int64_t page_keys = item.call->page_keys;
  std::int64_t page = (block * kKeyBlock + keys.begin) / page_keys;
  std::int64_t row = (block * kKeyBlock + keys.begin) % page_keys;
  for (std::int64_t j = keys.begin; j < keys.end; ++page, row = 0) {
    const std::int64_t stop = j + page_keys - row;
    const std::int64_t end = stop < keys.end ? stop : keys.end;
    use(PagePiece{page, row, j, end});
    j = end;
  }
}

/// Packs keys from pages of rows into panels, a vector of keys at a time if it is within one page;
/// pads their column tiles with 0.
inline void pack_paged_keys(const AttendItem& item, std::int64_t block, KeyRange keys,
                            float* panels) {
  const std::int64_t size = item.call->page_keys;
  constexpr int T = kVecLanes;
  const auto row_of = [&](std::int64_t j) {
    const std::int64_t key = block * kKeyBlock + j;
    return page_keys(item, key / size) + key % size * item.call->k_stride;
  };
  const std::int64_t last = (keys.end + kColumns - 1) / kColumns * kColumns;
  for (std::int64_t j = keys.begin / kColumns * kColumns; j < last; j += T) {
    float* strip = panels + j / kPanel * kPanel * item.call->head_dim + j % kPanel;
    const std::int64_t begin = keys.begin > j ? keys.begin - j : 0;
    const std::int64_t end = keys.end - j < T ? keys.end - j : T;
    const std::int64_t row = (block * kKeyBlock + j) % size;
    if (begin == 0 && end == T && row + T <= size) {
      pack_key_strip(row_of(j), item.call->k_stride, 0, T, item.call->head_dim, strip);
      continue;
    }
    for (std::int64_t d = 0; d < item.call->head_dim; ++d) store(strip + d * kPanel, Vec(0.0f));
    for (std::int64_t t = begin; t < end; ++t) {
      const float* k = row_of(j + t);
      for (std::int64_t d = 0; d < item.call->head_dim; ++d) strip[d * kPanel + t] = k[d];
    }
  }
}

/// Floats between the 32-column panels of V: in rows they are adjacent.
RAPT_INLINE std::int64_t value_panel_stride(const AttendItem& item) {
  return is_packed(item) ? item.call->page_keys * kPanel : kPanel;
}

/// The first panel of V at the first key of a piece.
RAPT_INLINE const float* value_panels(const AttendItem& item, const PagePiece& piece) {
  return page_values(item, piece.page) + piece.row * item.call->v_stride;
}

inline void pack_paged_values(const AttendItem& item, std::int64_t block, KeyRange keys,
                              float* panels) {
  for_page_pieces(item, block, keys, [&](const PagePiece& piece) {
    const float* v = value_panels(item, piece) - piece.begin * item.call->v_stride;
    for (std::int64_t c = 0; c < item.call->value_dim; c += kPanel, v += value_panel_stride(item)) {
      const std::int64_t columns =
          item.call->value_dim - c < kPanel ? item.call->value_dim - c : kPanel;
      pack_values(v, item.call->v_stride, piece.begin, piece.end, columns, panels + c * kKeyBlock);
    }
  });
}

/// Packed pages already have the layout of packed V. Pages with fewer rows than a line of weights
/// are copied: the inner loop would restart for each page.
RAPT_INLINE bool values_stay_in_pages(const AttendItem& item) {
  if (is_packed(item)) return true;
  return item.rows < item.call->tuning->pack_values_rows && item.call->page_keys >= kLanes &&
         item.call->value_dim % kColumns == 0;
}

/// The keys of a block without its values.
RAPT_INLINE PackedBlock paged_keys(const AttendItem& item, const AttendScratch& scratch,
                                   std::int64_t block, KeyRange keys) {
  PackedBlock packed{scratch.k, 0, scratch.v, kPanel, kKeyBlock * kPanel, false};
  if (is_packed(item)) {
    packed.k = nullptr;
    packed.first_page = block * (kKeyBlock / item.call->page_keys);
  } else {
    pack_paged_keys(item, block, keys, scratch.k);
  }
  return packed;
}

RAPT_INLINE PackedBlock pack_paged_block(const AttendItem& item, const AttendScratch& scratch,
                                         std::int64_t block, KeyRange keys) {
  PackedBlock packed = paged_keys(item, scratch, block, keys);
  if (values_stay_in_pages(item)) {
    packed.v_in_pages = true;
    packed.v_stride = item.call->v_stride;
    packed.v_panel_stride = value_panel_stride(item);
  } else {
    pack_paged_values(item, block, keys, scratch.v);
  }
  return packed;
}

/// Prefetches the keys and values of a block; pages of fewer keys than a panel are left to the
/// hardware prefetchers.
inline void prefetch_paged_block(const AttendItem& item, std::int64_t block, KeyRange keys,
                                 Prefetcher& prefetcher) {
  if (item.call->page_keys < kPanel || keys.begin == keys.end) return;
  for_page_pieces(item, block, keys, [&](const PagePiece& piece) {
    const float* k = page_keys(item, piece.page);
    const std::int64_t count = piece.end - piece.begin;
    if (!is_packed(item)) {
      prefetcher.add(k + piece.row * item.call->k_stride, count, item.call->head_dim,
                     item.call->k_stride);
      return;
    }
    const std::int64_t first = piece.row / kPanel * kPanel;
    prefetcher.add(k + first * item.call->head_dim, piece.row + count - first, item.call->head_dim,
                   item.call->head_dim);
  });
  for_page_pieces(item, block, keys, [&](const PagePiece& piece) {
    const std::int64_t count = piece.end - piece.begin;
    if (!is_packed(item)) {
      prefetcher.add(value_panels(item, piece), count, item.call->value_dim, item.call->v_stride);
      return;
    }
    prefetcher.add(value_panels(item, piece), (item.call->value_dim + kPanel - 1) / kPanel,
                   count * kPanel, value_panel_stride(item));
  });
}

/// Prefetches the keys and values of one block that the rows of an item may see.
inline void prefetch_block(const AttendItem& item, std::int64_t block, KeyRange keys,
                           Prefetcher& prefetcher) {
  const std::int64_t count = keys.end - keys.begin;
  if (count <= 0) return;
  if (in_pages(item)) return prefetch_paged_block(item, block, keys, prefetcher);
  const std::int64_t first = block * kKeyBlock + keys.begin;
  prefetcher.add(item.k + first * item.call->k_stride, count, item.call->head_dim,
                 item.call->k_stride);
  prefetcher.add(item.v + first * item.call->v_stride, count, item.call->value_dim,
                 item.call->v_stride);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
