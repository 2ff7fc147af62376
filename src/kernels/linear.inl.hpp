// y = x W^T + b for a block of rows and a range of panels of packed weights.
#pragma once

#include "kernels/kernel_set.hpp"
#include "kernels/multiply_tile.inl.hpp"
#include "kernels/pack.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Where a register tile of y goes and what is done to it on the way.
struct LinearEpilogue {
  float* y;
  std::int64_t y_stride;
  std::int64_t columns;  // at most kColumns
  const float* bias;     // of these columns, or null
  bool first, last;      // depth block
};

/// y = acc, then y + acc, then y + bias, in this order; NaNs of the result are canonical.
template <int R>
RAPT_INLINE void store_tile(const LinearEpilogue& e, Vec (&acc)[R][kVectors]) {
  RAPT_UNROLL for (int r = 0; r < R; ++r) {
    float* y = e.y + r * e.y_stride;
    float edge[kColumns];
    const bool whole = e.columns == kColumns;
    if (!whole && !e.first) {
      for (std::int64_t c = 0; c < e.columns; ++c) edge[c] = y[c];
    }
    float* at = whole ? y : edge;
    RAPT_UNROLL for (int c = 0; c < kVectors; ++c) {
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

template <int R>
struct LinearTile {
  static void run(const float* x, const float* weight, std::int64_t depth,
                  const LinearEpilogue& epilogue) {
    Vec acc[R][kVectors];
    clear(acc);
    multiply_tile<R, kVectors>(x, weight, kPanel, 0, depth, acc);
    store_tile<R>(epilogue, acc);
  }
};

/// One depth block of all rows, in row tiles.
inline std::int64_t linear_scratch(const LinearArgs& args) {
  const std::int64_t depth = args.depth < kDepthBlock ? args.depth : kDepthBlock;
  return (args.rows + kRows - 1) / kRows * tile_floats(depth);
}

RAPT_INLINE void pack_rows(const LinearArgs& args, std::int64_t k, std::int64_t depth) {
  const std::int64_t floats = tile_floats(depth);
  for (std::int64_t r = 0; r < args.rows; ++r) {
    pack_row(args.x + r * args.x_stride + k, depth,
             args.scratch + r / kRows * floats + r % kRows * kLanes);
  }
}

/// Column tiles outside, row tiles inside: a tile of weights (kDepthBlock x 32) serves all rows
/// before the next one is read.
inline void linear(const LinearArgs& args) {
  for (std::int64_t k = 0; k < args.depth; k += kDepthBlock) {
    const std::int64_t depth = args.depth - k < kDepthBlock ? args.depth - k : kDepthBlock;
    pack_rows(args, k, depth);
    const std::int64_t end =
        args.panel_end * kPanel < args.columns ? args.panel_end * kPanel : args.columns;
    for (std::int64_t c = args.panel_begin * kPanel; c < end; c += kColumns) {
      const float* weight = args.weight + (c / kPanel * args.depth + k) * kPanel + c % kPanel;
      for (std::int64_t r = 0; r < args.rows; r += kRows) {
        const LinearEpilogue epilogue{
            args.y + r * args.y_stride + c,
            args.y_stride,
            end - c < kColumns ? end - c : kColumns,
            args.bias == nullptr ? nullptr : args.bias + c,
            k == 0,
            k + kDepthBlock >= args.depth,
        };
        with_rows<LinearTile>(args.rows - r < kRows ? args.rows - r : kRows,
                              args.scratch + r / kRows * tile_floats(depth), weight, depth,
                              epilogue);
      }
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
