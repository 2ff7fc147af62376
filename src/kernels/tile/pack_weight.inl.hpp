// Packing of weights into panels of their own type.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/tile/element.inl.hpp"
#include "kernels/tile/pack.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Where column c of the matrix starts.
template <class T>
RAPT_INLINE const T* weight_column(const PackWeightArgs& args, const T* weight, std::int64_t c) {
  return weight + c / args.head_columns * args.head_stride +
         c % args.head_columns * args.column_stride;
}

/// Depth [k, k + depth) of one vector of columns from c on, of any strides.
template <class T>
inline void copy_weight_strip(const PackWeightArgs& args, const T* weight, std::int64_t c,
                              std::int64_t k, std::int64_t depth, T* to) {
  for (std::int64_t t = 0; t < kVecLanes; ++t) {
    const bool exists = c + t < args.columns;
    const T* const column = weight_column(args, weight, c + t) + k * args.depth_stride;
    for (std::int64_t i = 0; i < depth; ++i) {
      to[i * kPanel + t] = exists ? column[i * args.depth_stride] : T{};
    }
  }
}

/// Floats are transposed and copied as vectors where they are neighbours.
inline void pack_weight_strip(const PackWeightArgs& args, const float* weight, std::int64_t c,
                              std::int64_t k, std::int64_t depth, float* to) {
  constexpr std::int64_t T = kVecLanes;
  const float* const from = weight_column(args, weight, c) + k * args.depth_stride;
  if (c + T <= args.columns && c % args.head_columns + T <= args.head_columns) {
    if (args.depth_stride == 1) return pack_key_strip(from, args.column_stride, 0, T, depth, to);
    if (args.column_stride == 1) {
      for (std::int64_t i = 0; i < depth; ++i) {
        store(to + i * kPanel, load(from + i * args.depth_stride));
      }
      return;
    }
  }
  copy_weight_strip(args, weight, c, k, depth, to);
}

/// Elements of 16 bits are copied one by one, with all their bits: a NaN keeps its payload.
template <class T>
inline void pack_weight_strip(const PackWeightArgs& args, const T* weight, std::int64_t c,
                              std::int64_t k, std::int64_t depth, T* to) {
  copy_weight_strip(args, weight, c, k, depth, to);
}

/// In pieces of depth that fit L1: the strips of a panel share cache lines on both sides.
template <class T>
inline void pack_weight_panels(const PackWeightArgs& args, const T* weight, T* packed) {
  constexpr std::int64_t kDepth = 128;
  for (std::int64_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    for (std::int64_t k = 0; k < args.depth; k += kDepth) {
      const std::int64_t depth = args.depth - k < kDepth ? args.depth - k : kDepth;
      T* const to = packed + (panel * args.depth + k) * kPanel;
      for (std::int64_t t = 0; t < kPanel; t += kVecLanes) {
        pack_weight_strip(args, weight, panel * kPanel + t, k, depth, to + t);
      }
    }
  }
}

inline void pack_weight(const PackWeightArgs& args) {
  with_elements(args.weight, args.type, [&]<class T>(const T* weight) {
    pack_weight_panels(args, weight, static_cast<T*>(args.packed));
  });
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
