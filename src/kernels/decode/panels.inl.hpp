// The stream route over packed pages of any type: strips of panels times a few rows, widened in
// registers.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/prefill/paged.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"
#include "kernels/tile/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Vectors of a strip: as many of a panel's as the registers allow for R rows, since one row has
/// few chains (see tiles.hpp for the inequality). Two panels side by side would have more, but are
/// two streams from memory (Zen 5, bytes, one row: 1.1 of the time with AVX-512).
template <int R>
constexpr int strip_vectors() {
  int vectors = kPanelVectors;
  while (vectors > 1 && R * vectors + vectors + (kHasFmaLane ? R : 1) > kRegisters) vectors /= 2;
  return vectors;
}

/// The sums of a strip: C vectors from column `column` of a panel of `last - first` steps on, times
/// the factors [first, last) of the row tile at `a`.
template <int R, int C, class T>
RAPT_INLINE void multiply_strip(const AttendItem& item, const float* a, const T* panel,
                                std::int64_t column, std::int64_t first, std::int64_t last,
                                Vec (&acc)[R][C]) {
  const T* const strip = panel + column;
  multiply_tile(
      a, strip, kPanel, first, last, acc,
      PanelsAhead<T>::of(strip, column, last - first, item.call->tuning->panel_floats_ahead));
}

template <int R>
struct PanelScores {
  /// Scores of the block's panels of which keys are seen.
  template <class T>
  RAPT_NOINLINE static void run(const AttendItem& item, const AttendScratch& scratch,
                                std::int64_t first_page, KeyRange keys, const T*) {
    constexpr int C = strip_vectors<R>();
    for (std::int64_t j = keys.begin / kPanel * kPanel; j < keys.end; j += C * kVecLanes) {
      const T* const panel = static_cast<const T*>(paged_panel(item, first_page, j));
      Vec acc[R][C];
      clear(acc);
      multiply_strip(item, scratch.q, panel, j % kPanel, 0, item.call->head_dim, acc);
      RAPT_UNROLL for (int c = 0; c < C; ++c) {
        float* const at = score_of(scratch.s, j + c * kVecLanes);
        RAPT_UNROLL for (int r = 0; r < R; ++r) store(at + r * kLanes, acc[r][c]);
      }
    }
  }
};

template <int R>
struct PanelValues {
  /// Folds the weighted values of the block's keys `keys`, at least one.
  template <class T>
  RAPT_NOINLINE static void run(const AttendItem& item, const AttendScratch& scratch,
                                std::int64_t block, KeyRange keys, const T*) {
    constexpr int C = strip_vectors<R>();
    const std::int64_t columns = round_up(item.call->value_dim, kPanel);
    for (std::int64_t c = 0; c < columns; c += C * kVecLanes) {
      Vec acc[R][C];
      clear(acc);
      for_page_pieces(item, block, keys, [&](const PagePiece& piece) {
        const T* const panel = static_cast<const T*>(value_panels(item, piece)) +
                               c / kPanel * value_panel_stride(item);
        multiply_strip(item, scratch.s, panel, c % kPanel, piece.begin, piece.end, acc);
      });
      fold_tile<R, C>({scratch.a, scratch.b, scratch.o, scratch.o_stride}, c, acc);
    }
  }
};

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
