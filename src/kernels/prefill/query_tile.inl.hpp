// Up to Tuning::query_rows rows of a work item and one key block: which keys each row sees, by its
// range and by its masks.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/prefill/masked_rows.inl.hpp"
#include "kernels/prefill/score_options.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The keys of block `block` that any of queries [first_query, last_query] sees, relative to the
/// block. Both ends of a query's range ascend with the query.
RAPT_INLINE KeyRange visible_keys(const AttendItem& item, std::int64_t first_query,
                                  std::int64_t last_query, std::int64_t block) {
  const std::int64_t base = block * kKeyBlock;
  std::int64_t begin = first_query + item.visible.begin;
  begin = (begin > item.visible.first_key ? begin : item.visible.first_key) - base;
  std::int64_t end = last_query + item.visible.end;
  end = end > item.visible.prefix ? end : item.visible.prefix;
  const std::int64_t limit = last_query + item.visible.limit;
  end = end < limit ? end : limit;
  end = (end < item.visible.kv_len ? end : item.visible.kv_len) - base;
  begin = begin > 0 ? begin : 0;
  begin = begin < kKeyBlock ? begin : kKeyBlock;
  end = end < kKeyBlock ? end : kKeyBlock;
  return {begin, end > begin ? end : begin};
}

RAPT_INLINE KeyRange visible_to_rows(const AttendItem& item, std::int64_t row, std::int64_t rows,
                                     std::int64_t block) {
  return visible_keys(item, position_of(item, row).query, position_of(item, row + rows - 1).query,
                      block);
}

/// Up to Tuning::query_rows rows of the item against one block, in row tiles of kRows.
struct QueryTile {
  std::int64_t row;  // of the item
  std::int64_t rows;
  std::int64_t block;
  KeyRange keys;                       // seen by any of the rows
  bool uniform;                        // all rows see the same keys,
  bool whole;                          // in whole column tiles, and no option changes the scores
  bool masked;                         // rows see the keys `masks`
  KeyRange spans[kQueryRows / kRows];  // seen by any row of each row tile
  MaskedRow masks[kQueryRows];

  QueryTile(const AttendItem& item, std::int64_t row_, std::int64_t block_)
      : row(row_),
        rows(item.rows - row_ < item.call->tuning->query_rows ? item.rows - row_
                                                              : item.call->tuning->query_rows),
        block(block_) {
    keys = visible_to_rows(item, item.row_begin + row, rows, block);
    const KeyRange first = visible_to_rows(item, item.row_begin + row, 1, block);
    const KeyRange last = visible_to_rows(item, item.row_begin + row + rows - 1, 1, block);
    uniform = first.begin == last.begin && first.end == last.end;
    whole = uniform && is_whole(keys) && !changes_scores(item) && !is_scaled(item);
    for (std::int64_t r = 0; r < rows; r += kRows) {
      spans[r / kRows] =
          uniform ? keys : visible_to_rows(item, item.row_begin + row + r, rows_at(r), block);
    }
    masked = keys.begin < keys.end && narrows_rows(item) && may_narrow(item);
    if (masked) narrow(item);
  }

  /// Rows of the row tile that starts at r.
  std::int64_t rows_at(std::int64_t r) const { return rows - r < kRows ? rows - r : kRows; }

  KeyRange seen_by(const AttendItem& item, std::int64_t r) const {
    if (uniform) return keys;
    return masked ? masks[r].keys() : visible_to_rows(item, item.row_begin + row + r, 1, block);
  }

  /// Whether a mask may hide keys that row r sees.
  bool hides(std::int64_t r) const { return !masked || masks[r].holes; }

 private:
  /// Whether scores get the scales of keys after the tile.
  static bool is_scaled(const AttendItem& item) { return item.call->k_type == ElementType::i8; }

  /// Every key of a column tile and of a line of scores must be seen by every row.
  static bool is_whole(KeyRange seen) {
    constexpr std::int64_t unit = kColumns > kLanes ? kColumns : kLanes;
    return seen.begin % unit == 0 && seen.end % unit == 0;
  }

  /// The keys that row r sees by the range mask, before narrow().
  RAPT_INLINE KeyRange range_of(RowPosition at, const AttendItem& item) const {
    return uniform ? keys : visible_keys(item, at.query, at.query, block);
  }

  /// False for most tiles with a bias alone.
  RAPT_NOINLINE bool may_narrow(const AttendItem& item) const {
    if (item.call->mask.rows.data != nullptr) return true;
    for (std::int64_t r = 0; r < rows; ++r) {
      const RowPosition at = position_of(item, item.row_begin + row + r);
      const KeyRange seen = range_of(at, item);
      if (seen.begin < seen.end && bias_hides_end(item, block, at, seen)) return true;
    }
    return false;
  }

  /// Leaves to each row what its masks leave. Out of line: most calls have no masks.
  RAPT_NOINLINE void narrow(const AttendItem& item) {
    const bool same_range = uniform;
    const KeyRange range = keys;
    bool holes = false;
    RowMasks read(item, block, keys);
    keys = {kKeyBlock, 0};
    for (std::int64_t r = 0; r < rows; ++r) {
      if (r % kRows == 0) spans[r / kRows] = {kKeyBlock, 0};
      const std::int64_t of_item = item.row_begin + row + r;
      const RowPosition at = position_of(item, of_item);
      const KeyRange seen = same_range ? range : visible_keys(item, at.query, at.query, block);
      read.narrow(at, seen, masks[r]);
      holes |= masks[r].holes;
      uniform =
          (r == 0 || uniform) && masks[r].begin == masks[0].begin && masks[r].end == masks[0].end;
      if (masks[r].begin == masks[r].end) continue;
      spans[r / kRows] = joined(spans[r / kRows], masks[r].keys());
      keys = joined(keys, masks[r].keys());
    }
    for (std::int64_t r = 0; r < rows; r += kRows) {
      if (spans[r / kRows].end == 0) spans[r / kRows] = {0, 0};
    }
    if (keys.end == 0) keys = {0, 0};
    whole = uniform && !holes && is_whole(keys) && !has_score_options(item) && !is_scaled(item);
  }

  static KeyRange joined(KeyRange a, KeyRange b) {
    return {a.begin < b.begin ? a.begin : b.begin, a.end > b.end ? a.end : b.end};
  }
};

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
