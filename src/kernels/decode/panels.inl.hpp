// Few rows against packed pages: panels of keys and panels of columns of V, both of them streams of
// memory that are read from end to end.
#pragma once

#include "kernels/prefill/prefetch.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"
#include "kernels/tile/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

// A packed panel is read from end to end: as many rows at a time as there are registers for whole
// panel rows, and a chunk of dimensions for all rows before the next, which finds it in L1.
constexpr int kRowsFit = (kRegisters - 1) / kPanelVectors - 1;
constexpr int kRowsOfPanel = kRowsFit < 1 ? 1 : kRowsFit < kFewRows ? kRowsFit : kFewRows;

/// Dimensions [first, last) of a panel for R rows; their sums wait in the row tile of scores.
template <int R>
struct PanelChunk {
  static void run(const float* q, const float* panel, std::int64_t first, std::int64_t last,
                  float* s) {
    Vec acc[R][kPanelVectors];
    clear(acc);
    if (first > 0) {
      RAPT_UNROLL for (int c = 0; c < kPanelVectors; ++c) {
        RAPT_UNROLL for (int r = 0; r < R; ++r) {
          acc[r][c] = load(score_of(s, c * kVecLanes) + r * kLanes);
        }
      }
    }
    multiply_tile<R, kPanelVectors>(q, panel + first * kPanel, kPanel, first, last, acc);
    RAPT_UNROLL for (int c = 0; c < kPanelVectors; ++c) {
      RAPT_UNROLL for (int r = 0; r < R; ++r) {
        store(score_of(s, c * kVecLanes) + r * kLanes, acc[r][c]);
      }
    }
  }
};

/// What the softmax and the sums of V work on, asked for again beside the panels of K, which are
/// more than L1 holds (Zen 4, AVX-512: 0.90 of the time with 1 row a kv head, 0.97 to 1.00 with 4;
/// 8 rows lost 2 %).
struct HotLines {
  static constexpr std::int64_t kMostRows = 4;

  const AttendScratch& scratch;
  std::int64_t rows;
  LineRange lines{{0, 0}};  // of scores; none before the last panel

  /// Asks for part `part` of `parts`.
  RAPT_INLINE void ask(std::int64_t part, std::int64_t parts) const {
    if (rows > kMostRows) return;
    const float* const states[] = {scratch.m,       scratch.l, scratch.block_m,
                                   scratch.block_l, scratch.a, scratch.b};
    __builtin_prefetch(states[part % 6], 0, 3);
    if (lines.first == lines.last) return;
    for (std::int64_t line = lines.first + part; line < lines.last; line += parts) {
      for (std::int64_t r = 0; r < rows; ++r) {
        __builtin_prefetch(scratch.s + line * kTileChunk + r * kLanes, 0, 3);
      }
    }
    for (std::int64_t c = part * kLineFloats; c < scratch.o_stride; c += parts * kLineFloats) {
      for (std::int64_t r = 0; r < rows; ++r) {
        __builtin_prefetch(scratch.v + r * scratch.o_stride + c, 0, 3);
      }
    }
  }
};

/// Scores of the kPanel keys of a panel; s: the row tile's scores from the panel's first key on.
inline void panel_scores(const float* q, const float* panel, std::int64_t rows,
                         std::int64_t head_dim, float* s, const HotLines& hot) {
  const std::int64_t parts = (head_dim + kLanes - 1) / kLanes;
  for (std::int64_t first = 0; first < head_dim; first += kLanes) {
    const std::int64_t last = first + kLanes < head_dim ? first + kLanes : head_dim;
    ask_for_border(panel + first * kPanel, kLanes * kPanel);
    hot.ask(first / kLanes, parts);
    for (std::int64_t r = 0; r < rows; r += kRowsOfPanel) {
      const std::int64_t left = rows - r < kRowsOfPanel ? rows - r : kRowsOfPanel;
      with_rows<PanelChunk, kRowsOfPanel>(left, q + r * kLanes, panel, first, last, s + r * kLanes);
    }
  }
}

/// Keys [keys.begin, keys.end) of a panel of columns of V for R rows.
template <int R>
struct ValuePanel {
  /// p: the rows' weights. v: the panel at the first key. sums: [R][sums_stride], what the keys
  /// before `begins` gave; the last keys fold them.
  static void run(const float* p, const float* v, KeyRange keys, bool begins, bool ends,
                  float* sums, std::int64_t sums_stride, const FoldInto& fold) {
    Vec acc[R][kPanelVectors];
    clear(acc);
    if (!begins) {
      RAPT_UNROLL for (int r = 0; r < R; ++r) {
        RAPT_UNROLL for (int c = 0; c < kPanelVectors; ++c) {
          acc[r][c] = load(sums + r * sums_stride + c * kVecLanes);
        }
      }
    }
    multiply_tile<R, kPanelVectors>(p, v, kPanel, keys.begin, keys.end, acc);
    if (ends) return fold_tile<R, kPanelVectors>(fold, 0, acc);
    RAPT_UNROLL for (int r = 0; r < R; ++r) {
      RAPT_UNROLL for (int c = 0; c < kPanelVectors; ++c) {
        store(sums + r * sums_stride + c * kVecLanes, acc[r][c]);
      }
    }
  }
};

/// Weighted values of keys `piece` of all `keys` of a block, those of one page. v: the first panel
/// of columns at the first key; a line of weights at a time for all rows before the next.
inline void panel_values(const float* p, const float* v, std::int64_t panel_stride, KeyRange piece,
                         KeyRange keys, std::int64_t rows, std::int64_t value_dim, float* sums,
                         const FoldInto& fold) {
  for (std::int64_t c = 0; c < value_dim; c += kPanel, v += panel_stride) {
    const float* line = v;
    for (std::int64_t j = piece.begin; j < piece.end;) {
      const std::int64_t next = j / kLanes * kLanes + kLanes;
      const KeyRange some{j, next < piece.end ? next : piece.end};
      ask_for_border(line, (some.end - j) * kPanel);
      for (std::int64_t r = 0; r < rows; r += kRowsOfPanel) {
        const std::int64_t left = rows - r < kRowsOfPanel ? rows - r : kRowsOfPanel;
        const FoldInto into{fold.a + r, fold.b + r, fold.o + r * fold.o_stride + c, fold.o_stride};
        with_rows<ValuePanel, kRowsOfPanel>(left, p + r * kLanes, line, some, j == keys.begin,
                                            some.end == keys.end, sums + r * fold.o_stride + c,
                                            fold.o_stride, into);
      }
      line += (some.end - j) * kPanel;
      j = some.end;
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
