// A query tile against its key block: scores, options, block softmax, weighted values.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/prefill/paged.inl.hpp"
#include "kernels/prefill/prefetch.inl.hpp"
#include "kernels/prefill/query_tile.inl.hpp"
#include "kernels/prefill/scale_keys.inl.hpp"
#include "kernels/prefill/score_callback.inl.hpp"
#include "kernels/prefill/score_options.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/tile/scores.inl.hpp"
#include "kernels/tile/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The scores of a query tile. The outer loop is over column tiles: a tile of K stays in L1 for all
/// rows. Calls prefetcher.step() for each tile.
template <class Steps>
inline void tile_scores(const AttendItem& item, const AttendScratch& scratch, const QueryTile& tile,
                        const PackedBlock& packed, Steps& prefetcher) {
  const float* q = scratch.q + tile.row / kRows * scratch.q_tile;
  for (std::int64_t i = 0; tile.whole && i < tile.rows * kLanes; i += kVecLanes) {
    store(scratch.top + i, Vec(-kInfinity));
  }
  for (std::int64_t j = tile.keys.begin / kColumns * kColumns; j < tile.keys.end; j += kColumns) {
    const float* k = key_panel(item, packed, j) + j % kPanel;
    for (std::int64_t r = 0; r < tile.rows; r += kRows) {
      const KeyRange seen = tile.spans[r / kRows];
      if (j >= seen.end || j + kColumns <= seen.begin) continue;
      if constexpr (kShape.half_score_tiles) {
        const bool first = j + kVecLanes > seen.begin, second = j + kVecLanes < seen.end;
        if (!first || !second) {
          const std::int64_t at = first ? 0 : kVecLanes;
          with_rows<ScoreVector>(tile.rows_at(r), q + r / kRows * scratch.q_tile, k + at,
                                 item.call->head_dim, j + at, scratch.s + r * kKeyBlock);
          prefetcher.step();
          continue;
        }
      }
      float* top = tile.whole ? scratch.top + r * kLanes : nullptr;
      with_rows<ScoreTile>(tile.rows_at(r), q + r / kRows * scratch.q_tile, k, item.call->head_dim,
                           j, scratch.s + r * kKeyBlock, top);
      prefetcher.step();
    }
  }
  if (item.call->k_type == ElementType::i8) scale_keys(scratch, tile, scratch.k_scales);
}

/// Sets each row's maximum to change(scores, position, keys seen), or -inf if it sees no key.
template <class Change>
RAPT_INLINE void change_rows(const AttendItem& item, const AttendScratch& scratch,
                             const QueryTile& tile, const Change& change) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const KeyRange seen = tile.seen_by(item, r);
    const RowPosition at = position_of(item, item.row_begin + tile.row + r);
    scratch.block_m[r] =
        seen.begin < seen.end ? change(scores_of_row(scratch, r), at, seen) : -kInfinity;
  }
}

/// Soft cap and ALiBi on all rows. Not inlined, so that constants are loaded once for all rows
/// (causal, window of 512, both options, head_dim 64: 0.985 of the time).
template <bool kCapped, bool kSloped>
RAPT_NOINLINE void tile_cap_and_slope(const AttendItem& item, const AttendScratch& scratch,
                                      const QueryTile& tile) {
  const SoftCap cap{Vec(item.call->soft_cap)};
  change_rows(item, scratch, tile,
              CapAndSlope<kCapped, kSloped>{item, tile.block * kKeyBlock, cap});
}

/// Whether soft cap and ALiBi are all that changes the scores before a callback, and distances are
/// exact.
RAPT_INLINE bool has_plain_options(const AttendItem& item, const QueryTile& tile) {
  if (has_general_options(item)) return false;
  if (item.call->alibi_slopes == nullptr) return true;
  const std::int64_t row = item.row_begin + tile.row, key = tile.block * kKeyBlock;
  return is_exact(distance_of(item, position_of(item, row), key)) &&
         is_exact(distance_of(item, position_of(item, row + tile.rows - 1), key));
}

/// Hides keys by the element mask, or after a callback, and computes each row's maximum.
inline void hide_in_rows(const AttendItem& item, const AttendScratch& scratch,
                         const QueryTile& tile) {
  const std::int64_t key = tile.block * kKeyBlock;
  const bool has_maxima = has_score_options(item) && item.call->callback == nullptr;
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    if (has_maxima && !tile.hides(r)) continue;
    const KeyRange seen = tile.seen_by(item, r);
    float* const scores = scores_of_row(scratch, r);
    if (seen.begin == seen.end) {
      scratch.block_m[r] = -kInfinity;
    } else if (!tile.hides(r)) {
      scratch.block_m[r] = block_max(scores, seen);
    } else if (tile.masked) {
      scratch.block_m[r] = change_scores(scores, seen, KeptKeys{tile.masks[r].kept});
    } else {
      const RowPosition at = position_of(item, item.row_begin + tile.row + r);
      scratch.block_m[r] = hide_keys(item, at, key, seen, scores);
    }
  }
}

/// Applies the options to the tile's scores, and computes each row's maximum.
inline void tile_score_options(const AttendItem& item, const AttendScratch& scratch,
                               const QueryTile& tile) {
  const std::int64_t key = tile.block * kKeyBlock;
  if (has_score_options(item)) {
    const bool capped = item.call->soft_cap != 0.0f, sloped = item.call->alibi_slopes != nullptr;
    if (!has_plain_options(item, tile)) {
      change_rows(item, scratch, tile, [&](float* scores, RowPosition at, KeyRange seen) {
        return apply_score_options(item, at, key, seen, scores);
      });
    } else if (capped && sloped) {
      tile_cap_and_slope<true, true>(item, scratch, tile);
    } else if (capped) {
      tile_cap_and_slope<true, false>(item, scratch, tile);
    } else {
      tile_cap_and_slope<false, true>(item, scratch, tile);
    }
  }
  if (item.call->callback != nullptr) {
    call_back(
        item, scratch, item.row_begin + tile.row, tile.rows, key, tile.keys,
        [&](std::int64_t r) { return tile.seen_by(item, r); },
        [&](std::int64_t r) { return scores_of_row(scratch, r); });
  }
  if (item.call->callback == nullptr && item.call->mask.rows.data == nullptr) return;
  hide_in_rows(item, scratch, tile);
}

/// Each row's maximum over the keys that it sees, after the options.
inline void row_maxima(const AttendItem& item, const AttendScratch& scratch,
                       const QueryTile& tile) {
  if (changes_scores(item)) return tile_score_options(item, scratch, tile);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const KeyRange seen = tile.seen_by(item, r);
    scratch.block_m[r] =
        seen.begin < seen.end ? block_max(scores_of_row(scratch, r), seen) : -kInfinity;
  }
}

/// The maxima of a whole tile, which were collected with its scores.
inline void collected_maxima(const AttendScratch& scratch, const QueryTile& tile) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    scratch.block_m[r] = max_lanes(load(scratch.top + r * kLanes));
  }
}

/// Replaces the tile's scores by weights, and computes each row's l of the block. A separate pass
/// over the rows, so that the reductions of one row overlap the next row's work.
inline void tile_softmax(const AttendItem& item, const AttendScratch& scratch,
                         const QueryTile& tile) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    scratch.block_l[r] = block_weights(scores_of_row(scratch, r), tile.seen_by(item, r),
                                       tile.spans[r / kRows], scratch.block_m[r]);
  }
}

/// 1 / l of the tile's rows.
inline void tile_inverses(const AttendScratch& scratch, const QueryTile& tile) {
  Vec largest = load(scratch.largest);
  for (std::int64_t r = 0; r < tile.rows; r += kVecLanes) {
    const Vec l = load(scratch.l + tile.row + r);
    store(scratch.inverse + r, inverses_of(l));
    largest = max_magnitude(absolute(l), largest);
  }
  store(scratch.largest, largest);
}

/// Maximum number of pieces of a block in pages of at least kLanes keys.
constexpr std::int64_t kMaxPieces = kKeyBlock / kLanes + 1;

/// Lists where the values of keys `seen` of a block lie. Returns the number of pieces.
RAPT_INLINE std::int64_t value_pieces(const AttendItem& item, const PackedBlock& packed,
                                      std::int64_t block, KeyRange seen,
                                      ValuePiece (&pieces)[kMaxPieces]) {
  if (!packed.v_in_pages) {
    pieces[0] = {packed.v + seen.begin * packed.v_stride, seen.begin, seen.end};
    return 1;
  }
  std::int64_t count = 0;
  for_page_pieces(item, block, seen, [&](const PagePiece& piece) {
    pieces[count] = {static_cast<const float*>(value_panels(item, piece)), piece.begin, piece.end};
    count += 1;
  });
  return count;
}

/// The weighted values of a query tile. The outer loop is over column tiles: a tile of V stays in
/// L1 for all rows.
inline void tile_values(const AttendItem& item, const AttendScratch& scratch, const QueryTile& tile,
                        const PackedBlock& packed, bool direct, Prefetcher& prefetcher) {
  void* out[kQueryRows];
  if (direct) {
    tile_inverses(scratch, tile);
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      out[r] = output_row(item, position_of(item, item.row_begin + tile.row + r));
    }
  }
  ValuePiece pieces[kMaxPieces];
  for (std::int64_t c = 0; c < item.call->value_dim; c += kColumns) {
    const std::int64_t at = c / kPanel * packed.v_panel_stride + c % kPanel;
    for (std::int64_t r = 0; r < tile.rows; r += kRows) {
      const KeyRange seen = tile.spans[r / kRows];
      if (seen.begin == seen.end) continue;
      const std::int64_t count = value_pieces(item, packed, tile.block, seen, pieces);
      with_rows<ValueTile>(
          tile.rows_at(r), scratch.s + r * kKeyBlock, pieces, count, at, packed.v_stride,
          FoldInto{scratch.a + r, scratch.b + r, scratch.o + (tile.row + r) * scratch.o_stride + c,
                   scratch.o_stride},
          DirectTile{direct ? out + r : nullptr, item.call->out_type, c, scratch.inverse + r,
                     scratch.largest});
      prefetcher.step();
    }
  }
}

/// Turns scores whose maxima are known into weights, and computes the block's fold coefficients.
inline void tile_weights(const AttendItem& item, const AttendScratch& scratch,
                         const QueryTile& tile) {
  tile_softmax(item, scratch, tile);
  for (std::int64_t r = 0; item.call->weights.data != nullptr && r < tile.rows; ++r) {
    keep_weights(item, scratch, tile.row + r, tile.block, tile.seen_by(item, r),
                 scores_of_row(scratch, r));
  }
  if (item.call->v_type == ElementType::i8) scale_keys(scratch, tile, scratch.v_scales);
  fold_coefficients(scratch.m + tile.row, scratch.l + tile.row, scratch.block_m, scratch.block_l,
                    tile.rows, scratch.a, scratch.b);
}

/// Prefetches the next tile's rows of a bias and an element mask too: they are short and far from
/// each other, so the hardware prefetchers do not follow them.
class ElementsPrefetcher {
 public:
  ElementsPrefetcher(const AttendItem& item, const QueryTile& tile, Prefetcher& next)
      : next_(next) {
    // The item's first tile is nobody's next one. Its mask has been read; its bias is read later.
    if (tile.row == 0 && tile.block == item.block_begin) {
      add(item, tile.row, tile.rows, tile.block, tile.keys, item.call->bias,
          size_of(item.call->bias_type));
    }
    add_next(item, tile);
    elements_.spread_over((tile.rows + kRows - 1) / kRows *
                          ((tile.keys.end - tile.keys.begin + kColumns - 1) / kColumns));
  }

  RAPT_INLINE void step() {
    next_.step();
    elements_.step();
  }

 private:
  void add_next(const AttendItem& item, const QueryTile& tile) {
    const std::int64_t most = item.call->tuning->query_rows;
    std::int64_t row = tile.row + most, block = tile.block;
    if (row >= item.rows) {
      row = 0;
      block += 1;
    }
    if (block == item.block_end) return;
    const std::int64_t rows = item.rows - row < most ? item.rows - row : most;
    const KeyRange keys = visible_to_rows(item, item.row_begin + row, rows, block);
    add(item, row, rows, block, keys, item.call->bias, size_of(item.call->bias_type));
    add(item, row, rows, block, keys, item.call->mask, 1);
  }

  /// size: bytes of an element.
  template <class T>
  void add(const AttendItem& item, std::int64_t row, std::int64_t rows, std::int64_t block,
           KeyRange keys, const ElementRows<T>& elements, std::int64_t size) {
    if (elements.rows.data == nullptr || elements.key_stride != 1) return;
    const RowPosition at = position_of(item, item.row_begin + row);
    const std::int64_t first =
        row_offset(elements.rows, item, {at.query, 0}) + block * kKeyBlock + keys.begin;
    const void* const base = elements.rows.data;
    elements_.add_bytes(static_cast<const char*>(base) + first * size, at.head + rows,
                        (keys.end - keys.begin) * size, elements.rows.token_stride * size,
                        item.call->group, elements.rows.head_stride * size, false);
  }

  Prefetcher& next_;
  Prefetcher elements_;
};

inline void attend_query_tile(const AttendItem& item, const AttendScratch& scratch,
                              const QueryTile& tile, const PackedBlock& packed, bool direct,
                              Prefetcher& prefetcher) {
  if (item.call->bias.rows.data == nullptr && item.call->mask.rows.data == nullptr) {
    tile_scores(item, scratch, tile, packed, prefetcher);
  } else {
    ElementsPrefetcher with_elements(item, tile, prefetcher);
    tile_scores(item, scratch, tile, packed, with_elements);
  }
  if (tile.whole) {
    collected_maxima(scratch, tile);
  } else {
    row_maxima(item, scratch, tile);
  }
  tile_weights(item, scratch, tile);
  tile_values(item, scratch, tile, packed, direct, prefetcher);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
