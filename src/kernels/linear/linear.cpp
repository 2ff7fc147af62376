// y = x W^T + b for a block of rows and a range of panels of packed weights, which are widened as
// they are loaded.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/functions.hpp"
#include "kernels/tile/element.inl.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"
#include "kernels/tile/pack.inl.hpp"
#include "kernels/tile/prefetcher.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Where the sums of the columns from `begin` on are: y itself, or floats that are narrowed into it
/// when the last depth block is added.
struct LinearSums {
  std::int64_t begin, end;  // columns
  float* y;
  std::int64_t stride;

  RAPT_INLINE float* at(std::int64_t r, std::int64_t c) const { return y + r * stride + c - begin; }
};

/// The destination of a register tile in the sums, and the last steps before it is written.
struct LinearEpilogue {
  float* y;
  std::int64_t y_stride;
  std::int64_t columns;  // at most those of the tile
  const float* bias;     // of these columns, or null
  bool first, last;      // depth block
};

/// Weights that a tile prefetches into L2 while it computes, `advance` elements per step, so that
/// they never occupy all line fill buffers. Steps within a line prefetch it again.
template <class T>
struct WeightsPrefetch {
  /// Elements from one prefetched line to the next: a column tile that is part of a panel has one
  /// in each row of the panel.
  static constexpr std::int64_t kApart =
      kTileIsPanel ? kLineBytes / static_cast<std::int64_t>(sizeof(T)) : kPanel;
  static_assert((kApart & (kApart - 1)) == 0 && kApart <= kPanel);

  const T* first;
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
template <int C>
RAPT_INLINE void store_row(const LinearEpilogue& e, int r, const Vec (&acc)[C]) {
  float* y = e.y + r * e.y_stride;
  float edge[C * kVecLanes];
  const bool whole = e.columns == C * kVecLanes;
  if (!whole && !e.first) {
    for (int c = 0; c < C * kVecLanes; ++c) edge[c] = c < e.columns ? y[c] : 0.0f;
  }
  float* at = whole ? y : edge;
  RAPT_UNROLL for (int c = 0; c < C; ++c) {
    Vec sum = acc[c];
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

template <int C>
RAPT_NOINLINE void store_rows(const LinearEpilogue& e, const Vec (*sums)[C], int rows) {
  for (int r = 0; r < rows; ++r) store_row<C>(e, r, sums[r]);
}

/// In the tiles of floats the epilogue is inlined, which saves 5 % of a product of 64 of depth (Zen
/// 5). It is most of a tile's code, so those of the other types share one, which reads memory.
template <class T, int R, int C>
RAPT_INLINE void store_tile(const LinearEpilogue& e, Vec (&acc)[R][C]) {
  if constexpr (sizeof(T) == sizeof(float)) {
    RAPT_UNROLL for (int r = 0; r < R; ++r) store_row<C>(e, r, acc[r]);
  } else {
    Vec sums[R][C];  // acc stays in registers
    RAPT_UNROLL for (int r = 0; r < R; ++r) {
      RAPT_UNROLL for (int c = 0; c < C; ++c) sums[r][c] = acc[r][c];
    }
    store_rows<C>(e, sums, R);
  }
}

// Whole panels for as many rows as the registers allow: weights from memory are then read
// sequentially, which the hardware prefetchers follow.
constexpr int kPanelRows = kTileIsPanel ? 0 : (kRegisters - 1 - kPanelVectors) / kPanelVectors;

template <int R, int C, class T, class Ahead>
RAPT_INLINE void linear_tile(const float* x, const T* weight, std::int64_t depth, Ahead ahead,
                             const LinearEpilogue& epilogue) {
  Vec acc[R][C];
  clear(acc);
  multiply_tile(x, weight, kPanel, 0, depth, acc, ahead);
  store_tile<T>(epilogue, acc);
}

template <int R>
struct LinearTile {
  template <class T, class Ahead>
  static void run(const float* x, const T* weight, std::int64_t depth, const Ahead& ahead,
                  const LinearEpilogue& epilogue) {
    linear_tile<R, kVectors>(x, weight, depth, ahead, epilogue);
  }
};

template <int R>
struct LinearPanel {
  template <class T, class Ahead>
  static void run(const float* x, const T* weight, std::int64_t depth, const Ahead& ahead,
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
  with_elements(args.x, args.x_type, [&](const auto* x) {
    for (std::int64_t r = 0; r < args.rows; ++r) {
      pack_row(x + r * args.x_stride + k, depth,
               args.scratch + r / rows * floats + r % rows * kLanes);
    }
  });
}

/// Depth [k, k + depth) of a column tile of weights of T.
template <class T>
struct LinearColumns {
  std::int64_t c, width;
  std::int64_t k, depth;
  const T* weight;

  LinearColumns(const LinearArgs& args, std::int64_t c_, std::int64_t width_, std::int64_t k_)
      : c(c_),
        width(width_),
        k(k_),
        depth(args.depth - k_ < kDepthBlock ? args.depth - k_ : kDepthBlock),
        weight(static_cast<const T*>(args.weight) + (c_ / kPanel * args.depth + k_) * kPanel +
               c_ % kPanel) {}
};

/// The depth block after k; the first one after the last.
RAPT_INLINE std::int64_t next_depth(const LinearArgs& args, std::int64_t k) {
  return k + kDepthBlock < args.depth ? k + kDepthBlock : 0;
}

/// A column tile times `rows` rows from r on, packed at x.
template <class T, class Ahead>
RAPT_INLINE void multiply_rows(const LinearArgs& args, const LinearSums& sums,
                               const LinearColumns<T>& at, std::int64_t r, std::int64_t rows,
                               const float* x, const Ahead& ahead) {
  const LinearEpilogue epilogue{
      sums.at(r, at.c),
      sums.stride,
      sums.end - at.c < at.width ? sums.end - at.c : at.width,
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
template <class T>
RAPT_INLINE WeightsPrefetch<T> weights_prefetch(const LinearArgs& args, const LinearSums& sums,
                                                const LinearColumns<T>& at, std::int64_t tile,
                                                std::int64_t tiles) {
  const bool more = at.c + kColumns < sums.end;
  const LinearColumns<T> next(args, more ? at.c + kColumns : sums.begin, kColumns,
                              more ? at.k : next_depth(args, at.k));
  const std::int64_t advance = (kPanel + tiles - 1) / tiles;
  if (tile * advance >= kPanel) return {next.weight, 0};
  const std::int64_t first = tile * advance * at.depth;
  return {next.weight + (first & -WeightsPrefetch<T>::kApart), advance};
}

/// Prefetches the rows of sums that a tile will write.
RAPT_INLINE void prefetch_sums(const LinearArgs& args, const LinearSums& sums, std::int64_t r,
                               std::int64_t c) {
  for (std::int64_t row = r; row < args.rows && row < r + kRows; ++row) {
    for (int i = 0; i < kColumns; i += kLanes) __builtin_prefetch(sums.at(row, c) + i, 1, 3);
  }
}

/// Prefetches, with the register tiles of depth block k, the rows of x that are packed after it:
/// the same rows, or those that follow. (Zen 5, 4096 x 768 x 768, AVX2: 0.97 of the time.)
inline Prefetcher rows_prefetcher(const LinearArgs& args, std::int64_t k, std::int64_t tiles) {
  const std::int64_t next = next_depth(args, k), left = args.depth - next;
  Prefetcher prefetcher;
  const std::int64_t first = (next == 0 ? args.rows * args.x_stride : 0) + next;
  prefetcher.add(element_at(args.x, args.x_type, first), args.x_type, args.rows,
                 left < kDepthBlock ? left : kDepthBlock, args.x_stride);
  prefetcher.spread_over(tiles);
  return prefetcher;
}

/// Of rows that are packed: one tile.
template <class T>
void linear_whole_depth(const LinearArgs& args, const LinearSums& sums) {
  const std::int64_t width = args.rows <= kPanelRows ? kPanel : kColumns;
  const std::int64_t distance =
      args.rows == 1 ? args.tuning->one_row_weight_floats_ahead : args.tuning->weight_floats_ahead;
  for (std::int64_t panel = sums.begin; panel < sums.end; panel += kPanel) {
    for (std::int64_t k = 0; k < args.depth; k += kDepthBlock) {
      for (std::int64_t c = panel; c < sums.end && c < panel + kPanel; c += width) {
        const LinearColumns<T> at(args, c, width, k);
        multiply_rows(args, sums, at, 0, args.rows, args.scratch + k / kLanes * kTileChunk,
                      PanelsAhead<T>::of(at.weight, c - panel, at.depth, distance));
      }
    }
  }
}

/// The outer loop runs over column tiles: a tile of weights (kDepthBlock x kColumns) serves all
/// rows before the next one is read.
template <class T>
void linear_depth_blocks(const LinearArgs& args, const LinearSums& sums) {
  const std::int64_t rows = tile_rows(args), tiles = (args.rows + rows - 1) / rows;
  for (std::int64_t k = 0; k < args.depth; k += kDepthBlock) {
    Prefetcher next_rows =
        rows_prefetcher(args, k, tiles * ((sums.end - sums.begin + kColumns - 1) / kColumns));
    for (std::int64_t c = sums.begin; c < sums.end; c += kColumns) {
      const LinearColumns<T> at(args, c, kColumns, k);
      if (c == sums.begin) pack_rows(args, k, at.depth);
      for (std::int64_t tile = 0; tile < tiles; ++tile) {
        const std::int64_t r = tile * rows, left = args.rows - r;
        prefetch_sums(args, sums, r, c);
        next_rows.step();
        multiply_rows(args, sums, at, r, left < rows ? left : rows,
                      args.scratch + tile * tile_floats(at.depth),
                      weights_prefetch(args, sums, at, tile, tiles));
      }
    }
  }
}

RAPT_INLINE void multiply_columns(const LinearArgs& args, const LinearSums& sums) {
  with_elements(args.weight, args.weight_type, [&]<class T>(const T*) {
    if (packs_whole_depth(args)) return linear_whole_depth<T>(args, sums);
    linear_depth_blocks<T>(args, sums);
  });
}

/// Columns whose sums are floats in scratch at once, if y has another type: 768 KiB of a row block,
/// yet enough columns to repay packing its rows again for each piece.
constexpr std::int64_t kSumColumns = 1024;

std::int64_t packed_floats(const LinearArgs& args) {
  const bool whole = packs_whole_depth(args) || args.depth < kDepthBlock;
  return (args.rows + kRows - 1) / kRows * tile_floats(whole ? args.depth : kDepthBlock);
}

std::int64_t sum_columns(const LinearArgs& args) {
  const std::int64_t columns = (args.panel_end - args.panel_begin) * kPanel;
  return columns < kSumColumns ? columns : kSumColumns;
}

}  // namespace

std::int64_t linear_scratch(const LinearArgs& args) {
  return packed_floats(args) +
         (args.y_type == ElementType::f32 ? 0 : args.rows * sum_columns(args));
}

/// Sums of several depth blocks stay floats: y is rounded once.
void linear(const LinearArgs& args) {
  const std::int64_t begin = args.panel_begin * kPanel;
  const std::int64_t end =
      args.panel_end * kPanel < args.columns ? args.panel_end * kPanel : args.columns;
  if (packs_whole_depth(args)) pack_rows(args, 0, args.depth);
  if (args.y_type == ElementType::f32) {
    return multiply_columns(args, {begin, end, static_cast<float*>(args.y) + begin, args.y_stride});
  }
  float* const floats = args.scratch + packed_floats(args);
  const std::int64_t stride = sum_columns(args);
  for (std::int64_t c = begin; c < end; c += stride) {
    const std::int64_t next = c + stride < end ? c + stride : end;
    multiply_columns(args, {c, next, floats, stride});
    for (std::int64_t r = 0; r < args.rows; ++r) {
      narrow_row(floats + r * stride, next - c, args.y_type,
                 element_at(args.y, args.y_type, r * args.y_stride + c));
    }
  }
}

}  // namespace rapt::kernels::RAPT_KERNEL_ISA
