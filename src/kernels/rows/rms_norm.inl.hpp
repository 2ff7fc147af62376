// RMS normalisation of a row: its squares in sixteen lanes, then one factor for all components.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/rows/lane_sum.inl.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

RAPT_INLINE float sum_of_squares(const float* x, std::int64_t width) {
  const auto same = [](auto v) { return v; };
  const auto add_square = [](Vec v, Vec lane) { return fma(v, v, lane); };
  return lane_sum(x, width, same, add_square);
}

/// y_d = (x_d * r) * weight_d with r = 1 / sqrt(sum / width + epsilon). y may be x.
inline void normalize_row(const float* x, float* y, std::int64_t width, const RowNorm& norm) {
  const float mean = sum_of_squares(x, width) / static_cast<float>(width);
  const float r = 1.0f / __builtin_sqrtf(mean + norm.epsilon);
  std::int64_t d = 0;
  for (; d + kVecLanes <= width; d += kVecLanes) {
    Vec v = load(x + d) * Vec(r);
    if (norm.weight != nullptr) v = v * load(norm.weight + d);
    store(y + d, canonical(v));
  }
  for (; d < width; ++d) {
    const float v = x[d] * r;
    y[d] = canonical(norm.weight != nullptr ? v * norm.weight[d] : v);
  }
}

inline void normalize_rows(const NormArgs& args) {
  for (std::int64_t row = 0; row < args.rows; ++row) {
    normalize_row(args.x + row * args.x_stride, args.y + row * args.y_stride, args.width,
                  args.norm);
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
