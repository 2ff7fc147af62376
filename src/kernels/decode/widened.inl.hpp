// The stream route over rows of 16 bits in place, in tensors and in pages: some rows at a time are
// widened into L1 and then processed as floats, while as many are prefetched.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/decode/block.inl.hpp"
#include "kernels/decode/keys.inl.hpp"
#include "kernels/decode/values.inl.hpp"
#include "kernels/prefill/attend_rows.inl.hpp"
#include "kernels/prefill/attend_tile.inl.hpp"
#include "kernels/prefill/paged.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Whether keys or values are rows of another type than float.
RAPT_INLINE bool widens_rows(const AttendItem& item) {
  const AttendCall& call = *item.call;
  return call.storage != KeyStorage::packed_pages &&
         (call.k_type != ElementType::f32 || call.v_type != ElementType::f32);
}

/// Keys, or values, of the item's kv head: where the row of a key of the sequence lies.
struct TypedRows {
  ElementType type;
  std::int64_t width, stride;
  const void* first;         // not in pages
  const void* const* pages;  // null if not in pages
  std::int64_t page_keys, offset;

  RAPT_INLINE const void* row(std::int64_t key) const {
    if (pages == nullptr) return element_at(first, type, key * stride);
    return element_at(pages[key / page_keys], type, offset + key % page_keys * stride);
  }

  /// Prefetches the row of a key into L1.
  RAPT_INLINE void prefetch(std::int64_t key) const {
    const char* const at = static_cast<const char*>(row(key));
    for (std::int64_t i = 0; i < width * size_of(type); i += 64) __builtin_prefetch(at + i, 0, 3);
  }
};

inline TypedRows typed_keys(const AttendItem& item) {
  const AttendCall& call = *item.call;
  const bool paged = in_pages(item);
  return {call.k_type,
          call.head_dim,
          call.k_stride,
          item.k,
          paged ? item.sequence->k_pages : nullptr,
          call.page_keys,
          item.k_offset};
}

inline TypedRows typed_values(const AttendItem& item) {
  const AttendCall& call = *item.call;
  const bool paged = in_pages(item);
  return {call.v_type,
          call.value_dim,
          call.v_stride,
          item.v,
          paged ? item.sequence->v_pages : nullptr,
          call.page_keys,
          item.v_offset};
}

/// What is read next: the rows of keys [key, end), then of other rows from `then_key` on.
struct RowsToCome {
  const TypedRows* rows;
  std::int64_t key, end;
  const TypedRows* then;
  std::int64_t then_key, then_end;

  RAPT_INLINE void prefetch_one() {
    if (key < end) return rows->prefetch(key++);
    if (then_key < then_end) then->prefetch(then_key++);
  }
};

/// Rows [key, key + count) as floats, `width` apart.
inline void widen_keys(const TypedRows& rows, std::int64_t key, std::int64_t count,
                       RowsToCome& next, float* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    next.prefetch_one();
    widen_row(rows.row(key + i), rows.type, rows.width, to + i * rows.width);
  }
}

/// Keys of a step: enough vectors for the chains of KeyRowScores.
RAPT_INLINE std::int64_t widened_keys(std::int64_t rows) {
  return (rows == 1 ? 4 : rows == 2 ? 2 : 1) * kVecLanes;
}

/// Scores of a block's keys `keys`. Lines are whole: a key that is not seen has a row of zeros.
inline void widened_scores(const AttendItem& item, const AttendScratch& scratch, std::int64_t block,
                           KeyRange keys, const TypedRows& k, RowsToCome next) {
  const std::int64_t base = block * kKeyBlock, step = widened_keys(item.rows);
  const std::int64_t head_dim = item.call->head_dim;
  RowsAhead none;
  for (std::int64_t j = keys.begin / step * step; j < keys.end; j += step) {
    const std::int64_t first = j > keys.begin ? j : keys.begin;
    const std::int64_t last = j + step < keys.end ? j + step : keys.end;
    float* const wide = scratch.wide;
    for (std::int64_t i = 0; i < (first - j) * head_dim; ++i) wide[i] = 0.0f;
    widen_keys(k, base + first, last - first, next, wide + (first - j) * head_dim);
    for (std::int64_t i = (last - j) * head_dim; i < step * head_dim; ++i) wide[i] = 0.0f;
    with_rows<KeyRowScores, kStreamRows>(
        item.rows, KeyRowsArgs{scratch.q, wide, head_dim, head_dim, item.rows, j, step, scratch.s},
        none);
  }
}

/// Folds the weighted values of a block's keys `keys`, at least one.
inline void widened_values(const AttendItem& item, const AttendScratch& scratch, std::int64_t block,
                           KeyRange keys, const TypedRows& v, RowsToCome next) {
  const std::int64_t base = block * kKeyBlock, value_dim = item.call->value_dim;
  RowsAhead none;
  for (std::int64_t j = keys.begin; j < keys.end;) {
    const std::int64_t stop = (j / kLanes + 1) * kLanes;
    const std::int64_t end = stop < keys.end ? stop : keys.end;
    widen_keys(v, base + j, end - j, next, scratch.wide);
    with_rows<ValueRowSums, kStreamRows>(
        item.rows,
        ValueRowsArgs{scratch.s, scratch.wide, value_dim, value_dim, item.rows, j, end,
                      j == keys.begin, end == keys.end, scratch.v, scratch.a, scratch.b, scratch.o,
                      scratch.o_stride},
        none);
    j = end;
  }
}

/// A block of one kv head.
inline void stream_widened_block(const AttendItem& item, const AttendScratch& scratch,
                                 const QueryTile& tile) {
  const TypedRows k = typed_keys(item), v = typed_values(item);
  const std::int64_t base = tile.block * kKeyBlock, step = widened_keys(item.rows);
  const std::int64_t first = base + tile.keys.begin, last = base + tile.keys.end;
  if (changes_keys(item)) {
    packed_key_scores(item, scratch, tile.block, key_rows(item, scratch, tile.block, tile.keys),
                      tile.keys);
  } else {
    widened_scores(
        item, scratch, tile.block, tile.keys, k,
        {&k, first + step, last, &v, first, first + kLanes < last ? first + kLanes : last});
  }
  row_maxima(item, scratch, tile);
  tile_weights(item, scratch, tile);
  KeyRange then{0, 0};  // keys that no query sees may have no page
  if (tile.block + 1 < item.block_end) {
    then = visible_to_rows(item, item.row_begin, item.rows, tile.block + 1);
  }
  const std::int64_t then_key = base + kKeyBlock + then.begin;
  const std::int64_t then_end = base + kKeyBlock + then.end;
  widened_values(item, scratch, tile.block, tile.keys, v,
                 {&v, first + kLanes, last, &k, then_key,
                  then_key + step < then_end ? then_key + step : then_end});
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
