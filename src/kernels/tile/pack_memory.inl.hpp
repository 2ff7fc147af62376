// Packing for long-term storage: weights.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/tile/pack.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Depth [k, k + depth) of one vector of columns from c on.
inline void pack_weight_strip(const PackWeightArgs& args, std::int64_t c, std::int64_t k,
                              std::int64_t depth, float* to) {
  constexpr std::int64_t T = kVecLanes;
  const std::int64_t in_head = c % args.head_columns;
  const float* const from = args.weight + c / args.head_columns * args.head_stride +
                            in_head * args.column_stride + k * args.depth_stride;
  if (c + T <= args.columns && in_head + T <= args.head_columns) {
    if (args.depth_stride == 1) return pack_key_strip(from, args.column_stride, 0, T, depth, to);
    if (args.column_stride == 1) {
      for (std::int64_t i = 0; i < depth; ++i) {
        store(to + i * kPanel, load(from + i * args.depth_stride));
      }
      return;
    }
  }
  for (std::int64_t t = 0; t < T; ++t) {
    const bool exists = c + t < args.columns;
    const float* const column = args.weight + (c + t) / args.head_columns * args.head_stride +
                                (c + t) % args.head_columns * args.column_stride +
                                k * args.depth_stride;
    for (std::int64_t i = 0; i < depth; ++i) {
      to[i * kPanel + t] = exists ? column[i * args.depth_stride] : 0.0f;
    }
  }
}

/// In pieces of depth that fit L1: the strips of a panel share cache lines on both sides.
inline void pack_weight(const PackWeightArgs& args) {
  constexpr std::int64_t kDepth = 128;
  for (std::int64_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    for (std::int64_t k = 0; k < args.depth; k += kDepth) {
      const std::int64_t depth = args.depth - k < kDepth ? args.depth - k : kDepth;
      float* const to = args.packed + (panel * args.depth + k) * kPanel;
      for (std::int64_t t = 0; t < kPanel; t += kVecLanes) {
        pack_weight_strip(args, panel * kPanel + t, k, depth, to + t);
      }
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
