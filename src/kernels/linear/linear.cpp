// y = x W^T + b for a block of rows and a range of panels of packed weights.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/functions.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"
#include "kernels/tile/pack.inl.hpp"
#include "kernels/tile/prefetcher.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The destination of a register tile in y, and the last steps before it is written.
struct LinearEpilogue {
  float* y;
  std::int64_t y_stride;
  std::int64_t columns;  // at most those of the tile
  const float* bias;     // of these columns, or null
  bool first, last;      // depth block
};

/// Weights that a tile prefetches into L2 while it computes, `advance` floats per step, so that
/// they never occupy all line fill buffers. Steps within a line prefetch it again.
struct WeightsPrefetch {
  /// Floats from one prefetched line to the next: a column tile that is part of a panel has one in
  /// each row of the panel.
  static constexpr std::int64_t kApart = kTileIsPanel ? kLineFloats : kPanel;
  static_assert((kApart & (kApart - 1)) == 0);

  const float* first;
  std::int64_t advance;
  std::int64_t at = 0;

  template <int C>
  RAPT_INLINE void step() {
    __builtin_prefetch(first + (at & -kApart), 0, 2);
    at += C / kVectors * advance;
  }
  RAPT_INLINE void chunk() {}
};

/// y = acc, then y + acc, then y + bias, in this order; NaNs of the result are canonical.
template <int R, int C>
RAPT_INLINE void store_tile(const LinearEpilogue& e, Vec (&acc)[R][C]) {
  RAPT_UNROLL for (int r = 0; r < R; ++r) {
    float* y = e.y + r * e.y_stride;
    float edge[C * kVecLanes];
    const bool whole = e.columns == C * kVecLanes;
    if (!whole && !e.first) {
      for (int c = 0; c < C * kVecLanes; ++c) edge[c] = c < e.columns ? y[c] : 0.0f;
    }
    float* at = whole ? y : edge;
    RAPT_UNROLL for (int c = 0; c < C; ++c) {
      Vec sum = acc[r][c];
      if (!e.first) sum = load(at + c * kVecLanes) + sum;
      if (e.last) {
        if (e.bias != nullptr) sum = sum + load(e.bias + c * kVecLanes);
        sum = canonical(sum);
      }
      store(at + c * kVecLanes, sum);
    }
    if (!whole) {
      for (std::int64_t c = 0; c < e.columns; ++c) y[c] = edge[c];
    }
  }
}

// Whole panels for as many rows as the registers allow: weights from memory are then read
// sequentially, which the hardware prefetchers follow.
constexpr int kPanelRows = kTileIsPanel ? 0 : (kRegisters - 1 - kPanelVectors) / kPanelVectors;

template <int R, int C, class Ahead>
RAPT_INLINE void linear_tile(const float* x, const float* weight, std::int64_t depth, Ahead ahead,
                             const LinearEpilogue& epilogue) {
  Vec acc[R][C];
  clear(acc);
  multiply_tile(x, weight, kPanel, 0, depth, acc, ahead);
  store_tile<R, C>(epilogue, acc);
}

template <int R>
struct LinearTile {
  template <class Ahead>
  static void run(const float* x, const float* weight, std::int64_t depth, const Ahead& ahead,
                  const LinearEpilogue& epilogue) {
    linear_tile<R, kVectors>(x, weight, depth, ahead, epilogue);
  }
};

template <int R>
struct LinearPanel {
  template <class Ahead>
  static void run(const float* x, const float* weight, std::int64_t depth, const Ahead& ahead,
                  const LinearEpilogue& epilogue) {
    linear_tile<R, kPanelVectors>(x, weight, depth, ahead, epilogue);
  }
};

/// Up to one row tile is packed whole, so that each panel of weights is read sequentially; more
/// rows are packed in depth blocks, which stay in L2.
RAPT_INLINE bool packs_whole_depth(const LinearArgs& args) { return args.rows <= kRows; }

/// Rows of a row tile: as even as can be, because one of few rows has few chains. (Zen 5, AVX-512,
/// cold 4096 x 4096: 13 rows as 7 and 6 take 0.59 of the time of 12 and 1, 16 rows 0.66.)
RAPT_INLINE std::int64_t tile_rows(const LinearArgs& args) {
  const std::int64_t tiles = (args.rows + kRows - 1) / kRows;
  return (args.rows + tiles - 1) / tiles;
}

RAPT_INLINE void pack_rows(const LinearArgs& args, std::int64_t k, std::int64_t depth) {
  const std::int64_t floats = tile_floats(depth), rows = tile_rows(args);
  for (std::int64_t r = 0; r < args.rows; ++r) {
    pack_row(args.x + r * args.x_stride + k, depth,
             args.scratch + r / rows * floats + r % rows * kLanes);
  }
}

/// Depth [k, k + depth) of a column tile.
struct LinearColumns {
  std::int64_t c, width;
  std::int64_t k, depth;
  const float* weight;

  LinearColumns(const LinearArgs& args, std::int64_t c_, std::int64_t width_, std::int64_t k_)
      : c(c_),
        width(width_),
        k(k_),
        depth(args.depth - k_ < kDepthBlock ? args.depth - k_ : kDepthBlock),
        weight(args.weight + (c_ / kPanel * args.depth + k_) * kPanel + c_ % kPanel) {}
};

/// The depth block after k; the first one after the last.
RAPT_INLINE std::int64_t next_depth(const LinearArgs& args, std::int64_t k) {
  return k + kDepthBlock < args.depth ? k + kDepthBlock : 0;
}

/// A column tile times `rows` rows from r on, packed at x.
template <class Ahead>
RAPT_INLINE void multiply_rows(const LinearArgs& args, const LinearColumns& at, std::int64_t end,
                               std::int64_t r, std::int64_t rows, const float* x,
                               const Ahead& ahead) {
  const LinearEpilogue epilogue{
      args.y + r * args.y_stride + at.c,
      args.y_stride,
      end - at.c < at.width ? end - at.c : at.width,
      args.bias == nullptr ? nullptr : args.bias + at.c,
      at.k == 0,
      at.k + kDepthBlock >= args.depth,
  };
  if constexpr (kPanelRows > 0) {
    if (at.width == kPanel) {
      return with_rows<LinearPanel, kPanelRows>(rows, x, at.weight, at.depth, ahead, epilogue);
    }
  }
  with_rows<LinearTile>(rows, x, at.weight, at.depth, ahead, epilogue);
}

/// Which weights row tile `tile` of `tiles` prefetches: its share of the column tile after `at`.
/// The last one is followed by the first one of the next depth block, or of the rows that follow.
RAPT_INLINE WeightsPrefetch weights_prefetch(const LinearArgs& args, const LinearColumns& at,
                                             std::int64_t begin, std::int64_t end,
                                             std::int64_t tile, std::int64_t tiles) {
  const bool more = at.c + kColumns < end;
  const LinearColumns next(args, more ? at.c + kColumns : begin, kColumns,
                           more ? at.k : next_depth(args, at.k));
  const std::int64_t advance = (kPanel + tiles - 1) / tiles;
  if (tile * advance >= kPanel) return {next.weight, 0};
  const std::int64_t first = tile * advance * at.depth;
  return {next.weight + (first & -WeightsPrefetch::kApart), advance};
}

/// Prefetches the rows of y that a tile will write.
RAPT_INLINE void prefetch_rows_of_y(const LinearArgs& args, std::int64_t r, std::int64_t c) {
  for (std::int64_t row = r; row < args.rows && row < r + kRows; ++row) {
    for (int i = 0; i < kColumns; i += kLanes) {
      __builtin_prefetch(args.y + row * args.y_stride + c + i, 1, 3);
    }
  }
}

/// Prefetches, with the register tiles of depth block k, the rows of x that are packed after it:
/// the same rows, or those that follow. (Zen 5, 4096 x 768 x 768, AVX2: 0.97 of the time.)
inline Prefetcher rows_prefetcher(const LinearArgs& args, std::int64_t k, std::int64_t tiles) {
  const std::int64_t next = next_depth(args, k), left = args.depth - next;
  Prefetcher prefetcher;
  prefetcher.add(args.x + (next == 0 ? args.rows * args.x_stride : 0) + next, ElementType::f32,
                 args.rows, left < kDepthBlock ? left : kDepthBlock, args.x_stride);
  prefetcher.spread_over(tiles);
  return prefetcher;
}

inline void linear_whole_depth(const LinearArgs& args, std::int64_t begin, std::int64_t end) {
  pack_rows(args, 0, args.depth);
  const std::int64_t width = args.rows <= kPanelRows ? kPanel : kColumns;
  const std::int64_t distance =
      args.rows == 1 ? args.tuning->one_row_weight_floats_ahead : args.tuning->weight_floats_ahead;
  for (std::int64_t panel = begin; panel < end; panel += kPanel) {
    for (std::int64_t k = 0; k < args.depth; k += kDepthBlock) {
      for (std::int64_t c = panel; c < end && c < panel + kPanel; c += width) {
        const LinearColumns at(args, c, width, k);
        multiply_rows(args, at, end, 0, args.rows, args.scratch + k / kLanes * kTileChunk,
                      PanelsAhead<float>::of(at.weight, c - panel, at.depth, distance));
      }
    }
  }
}

}  // namespace

std::int64_t linear_scratch(const LinearArgs& args) {
  const bool whole = packs_whole_depth(args) || args.depth < kDepthBlock;
  return (args.rows + kRows - 1) / kRows * tile_floats(whole ? args.depth : kDepthBlock);
}

/// The outer loop runs over column tiles: a tile of weights (kDepthBlock x kColumns) serves all
/// rows before the next one is read.
void linear(const LinearArgs& args) {
  const std::int64_t begin = args.panel_begin * kPanel;
  const std::int64_t end =
      args.panel_end * kPanel < args.columns ? args.panel_end * kPanel : args.columns;
  if (packs_whole_depth(args)) return linear_whole_depth(args, begin, end);
  const std::int64_t rows = tile_rows(args), tiles = (args.rows + rows - 1) / rows;
  for (std::int64_t k = 0; k < args.depth; k += kDepthBlock) {
    Prefetcher next_rows =
        rows_prefetcher(args, k, tiles * ((end - begin + kColumns - 1) / kColumns));
    for (std::int64_t c = begin; c < end; c += kColumns) {
      const LinearColumns at(args, c, kColumns, k);
      if (c == begin) pack_rows(args, k, at.depth);
      for (std::int64_t tile = 0; tile < tiles; ++tile) {
        const std::int64_t r = tile * rows, left = args.rows - r;
        prefetch_rows_of_y(args, r, c);
        next_rows.step();
        multiply_rows(args, at, end, r, left < rows ? left : rows,
                      args.scratch + tile * tile_floats(at.depth),
                      weights_prefetch(args, at, begin, end, tile, tiles));
      }
    }
  }
}

}  // namespace rapt::kernels::RAPT_KERNEL_ISA
