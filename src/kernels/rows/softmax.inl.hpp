// Softmax of a row: its maximum, then the weights relative to it and their sum in sixteen lanes,
// then one factor for all of them.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/vec/exp2.inl.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The last elements of a row as sixteen, filled up with -inf: the maximum ignores it, its weight
/// is 0.
struct RowEnd {
  alignas(64) float x[kLanes];

  RAPT_INLINE RowEnd(const float* from, std::int64_t count) {
    for (std::int64_t t = 0; t < kLanes; ++t) x[t] = t < count ? from[t] : -kInfinity;
  }
};

/// The maximum of a row, NaNs ignored; -inf when there is none.
RAPT_INLINE float row_max(const float* x, std::int64_t width) {
  Vec lanes[kLaneVectors];
  RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) lanes[i] = Vec(-kInfinity);
  const auto take_in = [&lanes](const float* line) {
    RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) {
      lanes[i] = max_ignoring_nan(load(line + i * kVecLanes), lanes[i]);
    }
  };
  std::int64_t d = 0;
  for (; d + kLanes <= width; d += kLanes) take_in(x + d);
  if (d < width) take_in(RowEnd(x + d, width - d).x);
  return reduce_max(lanes);
}

/// exp(x - top) for x <= top.
RAPT_INLINE Vec weight_below(Vec x, Vec top) {
  // From here on down exp2 gives 0; the product of a difference far below could overflow.
  const Vec zero(-87.0f);
  const Vec difference = x - top;
  return exp2(select_less(difference, zero, zero, difference) * Vec(static_cast<float>(kLog2E)));
}

/// y_d = exp(x_d - top); returns the sum. y may be x.
RAPT_INLINE float write_weights(const float* x, float* y, std::int64_t width, float top) {
  Vec lanes[kLaneVectors];
  RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) lanes[i] = Vec(0.0f);
  const auto weigh = [&lanes, top](const float* from, float* to) {
    RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) {
      const Vec p = weight_below(load(from + i * kVecLanes), Vec(top));
      store(to + i * kVecLanes, p);
      lanes[i] = lanes[i] + p;
    }
  };
  std::int64_t d = 0;
  for (; d + kLanes <= width; d += kLanes) weigh(x + d, y + d);
  if (d < width) {
    RowEnd end(x + d, width - d);
    weigh(end.x, end.x);
    for (std::int64_t t = 0; d + t < width; ++t) y[d + t] = end.x[t];
  }
  return reduce_sum(lanes);
}

/// A row without a maximum: zeros, or NaN if it has one.
inline void write_row_without_maximum(const float* x, float* y, std::int64_t width) {
  // Not the value itself, chosen in the loop: g++ 12 makes a maximum of that and loses the NaN.
  int nans = 0;
  for (std::int64_t d = 0; d < width; ++d) nans |= x[d] != x[d] ? 1 : 0;
  const float value = nans != 0 ? __builtin_bit_cast(float, kCanonicalNan) : 0.0f;
  for (std::int64_t d = 0; d < width; ++d) y[d] = value;
}

inline void softmax_row(const float* x, float* y, std::int64_t width) {
  const float top = row_max(x, width);
  if (top == -kInfinity) return write_row_without_maximum(x, y, width);
  const float r = 1.0f / write_weights(x, y, width, top);
  std::int64_t d = 0;
  for (; d + kVecLanes <= width; d += kVecLanes) store(y + d, canonical(load(y + d) * Vec(r)));
  for (; d < width; ++d) y[d] = canonical(y[d] * r);
}

inline void softmax_rows(const SoftmaxRowsArgs& args) {
  for (std::int64_t row = 0; row < args.rows; ++row) {
    softmax_row(args.x + row * args.x_stride, args.y + row * args.y_stride, args.width);
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
