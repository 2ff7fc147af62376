// Keys and values in pages: packed pages are used in place, rows of pages are packed page by page.
// A chain runs on over the pages of a block, in ascending keys, so that paging changes no bit.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/prefill/prefetch.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/tile/pack.inl.hpp"
#include "kernels/tile/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

RAPT_INLINE KeyStorage storage_of(const AttendArgs& args) {
  if (args.pages.k == nullptr) return KeyStorage::rows;
  return args.pages.packed != 0 ? KeyStorage::packed_pages : KeyStorage::pages_of_rows;
}

/// A block of K and V, packed or as it lies.
struct PackedBlock {
  const float* k;               // panels; null: they are in k_pages
  const float* const* k_pages;  // the block's first page
  const float* v;
  std::int64_t v_stride, v_panel_stride;
  const float* const* v_pages;  // null: values are at v; else as AttendArgs::pages has them
};

/// The panel of key j of the block.
RAPT_INLINE const float* key_panel(const AttendArgs& args, const PackedBlock& packed,
                                   std::int64_t j) {
  if (packed.k != nullptr) return packed.k + j / kPanel * kPanel * args.head_dim;
  const PageTable& pages = args.pages;
  return packed.k_pages[j / pages.keys] + pages.k_offset +
         j % pages.keys / kPanel * kPanel * args.head_dim;
}

/// Keys [begin, end) of a block that lie in one page, the first at `row` of it.
struct PagePiece {
  std::int64_t page, row;
  std::int64_t begin, end;
};

/// Calls use(piece) for the pieces of keys [begin, end) of a block, in ascending order.
template <class F>
RAPT_INLINE void for_page_pieces(const PageTable& pages, std::int64_t block, KeyRange keys,
                                 const F& use) {
  std::int64_t page = (block * kKeyBlock + keys.begin) / pages.keys;
  std::int64_t row = (block * kKeyBlock + keys.begin) % pages.keys;
  for (std::int64_t j = keys.begin; j < keys.end; ++page, row = 0) {
    const std::int64_t stop = j + pages.keys - row;
    const std::int64_t end = stop < keys.end ? stop : keys.end;
    use(PagePiece{page, row, j, end});
    j = end;
  }
}

/// Keys that are rows of pages into panels, a strip of one vector of keys at a time where it lies
/// in one page; 0 for the rest of their column tiles.
inline void pack_paged_keys(const AttendArgs& args, std::int64_t block, KeyRange keys,
                            float* panels) {
  const PageTable& pages = args.pages;
  constexpr int T = kVecLanes;
  const auto row_of = [&](std::int64_t j) {
    const std::int64_t key = block * kKeyBlock + j;
    return pages.k[key / pages.keys] + pages.k_offset + key % pages.keys * args.k_stride;
  };
  const std::int64_t last = (keys.end + kColumns - 1) / kColumns * kColumns;
  for (std::int64_t j = keys.begin / kColumns * kColumns; j < last; j += T) {
    float* strip = panels + j / kPanel * kPanel * args.head_dim + j % kPanel;
    const std::int64_t begin = keys.begin > j ? keys.begin - j : 0;
    const std::int64_t end = keys.end - j < T ? keys.end - j : T;
    const std::int64_t row = (block * kKeyBlock + j) % pages.keys;
    if (begin == 0 && end == T && row + T <= pages.keys) {
      pack_key_strip(row_of(j), args.k_stride, 0, T, args.head_dim, strip);
      continue;
    }
    for (std::int64_t d = 0; d < args.head_dim; ++d) store(strip + d * kPanel, Vec(0.0f));
    for (std::int64_t t = begin; t < end; ++t) {
      const float* k = row_of(j + t);
      for (std::int64_t d = 0; d < args.head_dim; ++d) strip[d * kPanel + t] = k[d];
    }
  }
}

/// Floats from the 32 columns of a panel of V to the next 32: in rows they lie side by side.
RAPT_INLINE std::int64_t value_panel_stride(const AttendArgs& args) {
  return args.pages.packed != 0 ? args.pages.keys * kPanel : kPanel;
}

/// The first panel of V at the first key of a piece.
RAPT_INLINE const float* value_panels(const AttendArgs& args, const PagePiece& piece) {
  return args.pages.v[piece.page] + args.pages.v_offset + piece.row * args.v_stride;
}

inline void pack_paged_values(const AttendArgs& args, std::int64_t block, KeyRange keys,
                              float* panels) {
  for_page_pieces(args.pages, block, keys, [&](const PagePiece& piece) {
    const float* v = value_panels(args, piece) - piece.begin * args.v_stride;
    for (std::int64_t c = 0; c < args.value_dim; c += kPanel, v += value_panel_stride(args)) {
      const std::int64_t columns = args.value_dim - c < kPanel ? args.value_dim - c : kPanel;
      pack_values(v, args.v_stride, piece.begin, piece.end, columns, panels + c * kKeyBlock);
    }
  });
}

/// Panels of V are what packing would make of rows. A page of fewer rows than a line of weights has
/// is copied: the chain would stop too often.
RAPT_INLINE bool values_stay_in_pages(const AttendArgs& args) {
  if (args.pages.packed != 0) return true;
  return args.rows < kPackValuesRows && args.pages.keys >= kLanes && args.value_dim % kColumns == 0;
}

/// The keys of a block alone.
RAPT_INLINE PackedBlock paged_keys(const AttendArgs& args, const AttendScratch& scratch,
                                   std::int64_t block, KeyRange keys) {
  const PageTable& pages = args.pages;
  PackedBlock packed{scratch.k, nullptr, scratch.v, kPanel, kKeyBlock * kPanel, nullptr};
  if (pages.packed != 0) {
    packed.k = nullptr;
    packed.k_pages = pages.k + block * (kKeyBlock / pages.keys);
  } else {
    pack_paged_keys(args, block, keys, scratch.k);
  }
  return packed;
}

RAPT_INLINE PackedBlock pack_paged_block(const AttendArgs& args, const AttendScratch& scratch,
                                         std::int64_t block, KeyRange keys) {
  const PageTable& pages = args.pages;
  PackedBlock packed = paged_keys(args, scratch, block, keys);
  if (values_stay_in_pages(args)) {
    packed.v_pages = pages.v;
  } else {
    pack_paged_values(args, block, keys, scratch.v);
  }
  return packed;
}

/// Weighted values of one column tile, its chains over all pieces of the block.
template <int R>
struct PagedValueTile {
  RAPT_NOINLINE static void run(const AttendArgs& args, std::int64_t block, KeyRange keys,
                                std::int64_t column, const float* p, const FoldInto& fold,
                                const DirectTile& direct) {
    const std::int64_t at = column / kPanel * value_panel_stride(args) + column % kPanel;
    Vec acc[R][kVectors];
    clear(acc);
    for_page_pieces(args.pages, block, keys, [&](const PagePiece& piece) {
      const float* v = value_panels(args, piece) + at;
      multiply_tile<R, kVectors>(p, v, args.v_stride, piece.begin, piece.end, acc);
    });
    fold_directly<R, kVectors>(fold, direct, acc);
  }
};

/// Asks for the keys and values of a block; pages of fewer keys than a panel are left to the
/// processor.
inline void prefetch_paged_block(const AttendArgs& args, std::int64_t block, KeyRange keys,
                                 Prefetcher& prefetcher) {
  const PageTable& pages = args.pages;
  if (pages.keys < kPanel || keys.begin == keys.end) return;
  for_page_pieces(pages, block, keys, [&](const PagePiece& piece) {
    const float* k = pages.k[piece.page] + pages.k_offset;
    const std::int64_t count = piece.end - piece.begin;
    if (pages.packed == 0) {
      prefetcher.add(k + piece.row * args.k_stride, count, args.head_dim, args.k_stride);
      return;
    }
    const std::int64_t first = piece.row / kPanel * kPanel;
    prefetcher.add(k + first * args.head_dim, piece.row + count - first, args.head_dim,
                   args.head_dim);
  });
  for_page_pieces(pages, block, keys, [&](const PagePiece& piece) {
    const std::int64_t count = piece.end - piece.begin;
    if (pages.packed == 0) {
      prefetcher.add(value_panels(args, piece), count, args.value_dim, args.v_stride);
      return;
    }
    prefetcher.add(value_panels(args, piece), (args.value_dim + kPanel - 1) / kPanel,
                   count * kPanel, value_panel_stride(args));
  });
}

/// The keys and values of one block that the rows of an item may see.
inline void prefetch_block(const AttendArgs& args, std::int64_t block, KeyRange keys,
                           Prefetcher& prefetcher) {
  const std::int64_t count = keys.end - keys.begin;
  if (count <= 0) return;
  if (args.pages.k != nullptr) return prefetch_paged_block(args, block, keys, prefetcher);
  const std::int64_t first = block * kKeyBlock + keys.begin;
  prefetcher.add(args.k + first * args.k_stride, count, args.head_dim, args.k_stride);
  prefetcher.add(args.v + first * args.v_stride, count, args.value_dim, args.v_stride);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
