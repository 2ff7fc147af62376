// Keys and values in pages: packed pages are read in place, pages of rows are packed page by page.
// A multiply-add chain continues across the pages of a block, in ascending keys, so that paging
// changes no bit.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/prefill/prefetch.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/tile/element.inl.hpp"
#include "kernels/tile/pack.inl.hpp"
#include "kernels/tile/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

RAPT_INLINE bool in_pages(const AttendItem& item) { return item.call->storage != KeyStorage::rows; }

RAPT_INLINE bool is_packed(const AttendItem& item) {
  return item.call->storage == KeyStorage::packed_pages;
}

/// The keys, and the values, of a page of the item's sequence, `offset` elements on.
RAPT_INLINE const void* page_keys(const AttendItem& item, std::int64_t page, std::int64_t offset) {
  return element_at(item.sequence->k_pages[page], item.call->k_type, item.k_offset + offset);
}

RAPT_INLINE const void* page_values(const AttendItem& item, std::int64_t page,
                                    std::int64_t offset) {
  return element_at(item.sequence->v_pages[page], item.call->v_type, item.v_offset + offset);
}

/// A block of K and V: packed as floats, or in place.
struct PackedBlock {
  const float* k;           // panels; null if they are in pages
  std::int64_t first_page;  // the block's first page, if k is null
  const float* v;
  std::int64_t v_stride, v_panel_stride;
  bool v_in_pages;  // in pages instead of at v
};

/// The panel of key j of a block whose panels are in pages from `first_page` on.
RAPT_INLINE const void* paged_panel(const AttendItem& item, std::int64_t first_page,
                                    std::int64_t j) {
  const std::int64_t keys = item.call->page_keys;
  return page_keys(item, first_page + j / keys, j % keys / kPanel * kPanel * item.call->head_dim);
}

/// The panel of key j of the block.
RAPT_INLINE const float* key_panel(const AttendItem& item, const PackedBlock& packed,
                                   std::int64_t j) {
  if (packed.k != nullptr) return packed.k + j / kPanel * kPanel * item.call->head_dim;
  return static_cast<const float*>(paged_panel(item, packed.first_page, j));
}

/// The first page of a block, in packed pages.
RAPT_INLINE std::int64_t first_page(const AttendItem& item, std::int64_t block) {
  return block * (kKeyBlock / item.call->page_keys);
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
/// pads their column tiles with 0. Other types are widened first.
inline void pack_paged_keys(const AttendItem& item, const AttendScratch& scratch,
                            std::int64_t block, KeyRange keys) {
  const std::int64_t size = item.call->page_keys;
  float* const panels = scratch.k;
  constexpr int T = kVecLanes;
  const auto place_of = [&](std::int64_t j) {
    const std::int64_t key = block * kKeyBlock + j;
    return page_keys(item, key / size, key % size * item.call->k_stride);
  };
  if (item.call->k_type != ElementType::f32) {
    const std::int64_t stride = scratch.key_stride;
    for (std::int64_t j = keys.begin; j < keys.end; ++j) {
      widen_row(place_of(j), item.call->k_type, item.call->head_dim, scratch.keys + j * stride);
    }
    return pack_keys(scratch.keys, stride, keys.begin, keys.end, item.call->head_dim, panels);
  }
  const auto row_of = [&](std::int64_t j) { return static_cast<const float*>(place_of(j)); };
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
RAPT_INLINE const void* value_panels(const AttendItem& item, const PagePiece& piece) {
  return page_values(item, piece.page, piece.row * item.call->v_stride);
}

inline void pack_paged_values(const AttendItem& item, std::int64_t block, KeyRange keys,
                              float* panels) {
  for_page_pieces(item, block, keys, [&](const PagePiece& piece) {
    const AttendCall& call = *item.call;
    for (std::int64_t c = 0; c < call.value_dim; c += kPanel) {
      const std::int64_t columns = call.value_dim - c < kPanel ? call.value_dim - c : kPanel;
      with_page_elements(value_panels(item, piece), call.v_type, [&](const auto* v) {
        pack_value_rows(v + c / kPanel * value_panel_stride(item), call.v_stride,
                        piece.end - piece.begin, columns,
                        panels + c * kKeyBlock + piece.begin * kPanel, kKeyBlock * kPanel);
      });
    }
  });
}

/// Packed pages already have the layout of packed V. Pages with fewer rows than a line of weights
/// are copied: the inner loop would restart for each page. Other types
/// are widened once for all rows.
RAPT_INLINE bool values_stay_in_pages(const AttendItem& item) {
  if (item.call->v_type != ElementType::f32) return false;
  if (is_packed(item)) return true;
  return item.rows < item.call->tuning->pack_values_rows && item.call->page_keys >= kLanes &&
         item.call->value_dim % kColumns == 0;
}

/// Copies the scales of a block's rows, if keys and values are bytes; those of keys that are not
/// seen stay what they were.
inline void copy_scales(const AttendItem& item, const AttendScratch& scratch, std::int64_t block,
                        KeyRange keys) {
  const AttendCall& call = *item.call;
  if (call.k_type != ElementType::i8) return;
  for_page_pieces(item, block, keys, [&](const PagePiece& piece) {
    const std::int64_t at = piece.row * static_cast<std::int64_t>(sizeof(float));
    const auto bytes = static_cast<std::size_t>(piece.end - piece.begin) * sizeof(float);
    __builtin_memcpy(scratch.k_scales + piece.begin,
                     page_keys(item, piece.page, call.k_scales + at), bytes);
    __builtin_memcpy(scratch.v_scales + piece.begin,
                     page_values(item, piece.page, call.v_scales + at), bytes);
  });
}

/// The keys of a block without its values.
RAPT_INLINE PackedBlock paged_keys(const AttendItem& item, const AttendScratch& scratch,
                                   std::int64_t block, KeyRange keys) {
  PackedBlock packed{scratch.k, 0, scratch.v, kPanel, kKeyBlock * kPanel, false};
  if (!is_packed(item)) {
    pack_paged_keys(item, scratch, block, keys);
    return packed;
  }
  packed.first_page = first_page(item, block);
  copy_scales(item, scratch, block, keys);
  if (item.call->k_type == ElementType::f32) {
    packed.k = nullptr;
    return packed;
  }
  const std::int64_t panel = kPanel * item.call->head_dim;
  for (std::int64_t j = keys.begin / kPanel; j * kPanel < keys.end; ++j) {
    widen_row(paged_panel(item, packed.first_page, j * kPanel), item.call->k_type, panel,
              scratch.k + j * panel);
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
    const ElementType type = item.call->k_type;
    const std::int64_t count = piece.end - piece.begin, head_dim = item.call->head_dim;
    if (!is_packed(item)) {
      prefetcher.add(page_keys(item, piece.page, piece.row * item.call->k_stride), type, count,
                     head_dim, item.call->k_stride);
      return;
    }
    const std::int64_t first = piece.row / kPanel * kPanel;
    prefetcher.add(page_keys(item, piece.page, first * head_dim), type, piece.row + count - first,
                   head_dim, head_dim);
  });
  for_page_pieces(item, block, keys, [&](const PagePiece& piece) {
    const ElementType type = item.call->v_type;
    const std::int64_t count = piece.end - piece.begin;
    if (!is_packed(item)) {
      prefetcher.add(value_panels(item, piece), type, count, item.call->value_dim,
                     item.call->v_stride);
      return;
    }
    prefetcher.add(value_panels(item, piece), type, (item.call->value_dim + kPanel - 1) / kPanel,
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
  const AttendCall& call = *item.call;
  prefetcher.add(element_at(item.k, call.k_type, first * call.k_stride), call.k_type, count,
                 call.head_dim, call.k_stride);
  prefetcher.add(element_at(item.v, call.v_type, first * call.v_stride), call.v_type, count,
                 call.value_dim, call.v_stride);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
