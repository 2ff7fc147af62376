// RoPE: rotates the pairs of a row by the angles of its position.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// -x, also for zeros; xsimd 8.1 negates by 0 - x, which gives +0 for both.
RAPT_INLINE Vec negated(Vec x) { return x * Vec(-1.0f); }

/// The rotated pair (u, w): (fma(u, cos, -(w sin)), fma(u, sin, w cos)).
struct RotatedPair {
  Vec u, w;
};

RAPT_INLINE RotatedPair rotated_pair(Vec u, Vec w, Vec cos, Vec sin) {
  return {canonical(fma(u, cos, negated(w * sin))), canonical(fma(u, sin, w * cos))};
}

/// Pairs (d, d + pairs). y may be x.
RAPT_INLINE void rotate_halves(const float* x, float* y, std::int64_t pairs, const float* cos,
                               const float* sin) {
  std::int64_t d = 0;
  for (; d + kVecLanes <= pairs; d += kVecLanes) {
    const RotatedPair pair =
        rotated_pair(load(x + d), load(x + pairs + d), load(cos + d), load(sin + d));
    store(y + d, pair.u);
    store(y + pairs + d, pair.w);
  }
  for (; d < pairs; ++d) {
    const float u = x[d], w = x[pairs + d];
    y[d] = canonical(__builtin_fmaf(u, cos[d], -(w * sin[d])));
    y[pairs + d] = canonical(__builtin_fmaf(u, sin[d], w * cos[d]));
  }
}

/// Pairs (2 d, 2 d + 1). y may be x.
RAPT_INLINE void rotate_neighbours(const float* x, float* y, std::int64_t pairs, const float* cos,
                                   const float* sin) {
  std::int64_t d = 0;
  for (; d + kVecLanes <= pairs; d += kVecLanes) {
    alignas(64) float u[kVecLanes], w[kVecLanes];
    RAPT_UNROLL for (int i = 0; i < kVecLanes; ++i) {
      u[i] = x[2 * (d + i)];
      w[i] = x[2 * (d + i) + 1];
    }
    const RotatedPair pair = rotated_pair(load(u), load(w), load(cos + d), load(sin + d));
    store(u, pair.u);
    store(w, pair.w);
    RAPT_UNROLL for (int i = 0; i < kVecLanes; ++i) {
      y[2 * (d + i)] = u[i];
      y[2 * (d + i) + 1] = w[i];
    }
  }
  for (; d < pairs; ++d) {
    const float u = x[2 * d], w = x[2 * d + 1];
    y[2 * d] = canonical(__builtin_fmaf(u, cos[d], -(w * sin[d])));
    y[2 * d + 1] = canonical(__builtin_fmaf(u, sin[d], w * cos[d]));
  }
}

/// A row, rotated by the angles of its position. y may be x.
inline void rotate_row(const float* x, float* y, std::int64_t head_dim, const Rotation& rotation,
                       std::int64_t position) {
  const float* cos = rotation.cos + position * rotation.cos_stride;
  const float* sin = rotation.sin + position * rotation.sin_stride;
  if (rotation.interleaved != 0) {
    rotate_neighbours(x, y, rotation.pairs, cos, sin);
  } else {
    rotate_halves(x, y, rotation.pairs, cos, sin);
  }
  for (std::int64_t d = 2 * rotation.pairs; d < head_dim; ++d) y[d] = canonical(x[d]);
}

inline void rotate_rows(const RotateArgs& args) {
  for (std::int64_t row = 0; row < args.rows; ++row) {
    const std::int64_t position = args.positions == nullptr
                                      ? args.first_position + row
                                      : args.positions[row * args.position_stride];
    rotate_row(args.x + row * args.x_stride, args.y + row * args.y_stride, args.head_dim,
               args.rotation, position);
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
