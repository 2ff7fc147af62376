// Layer normalisation of a row: its mean, then the squares of the differences from it, then one
// factor for all components.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/rows/lane_sum.inl.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

RAPT_INLINE float row_mean(const float* x, std::int64_t width) {
  const auto same = [](auto v) { return v; };
  const auto add = [](Vec v, Vec lane) { return lane + v; };
  return lane_sum(x, width, same, add) / static_cast<float>(width);
}

RAPT_INLINE float row_variance(const float* x, std::int64_t width, float mean) {
  const auto difference = [mean](auto v) { return v - decltype(v)(mean); };
  const auto add_square = [](Vec v, Vec lane) { return fma(v, v, lane); };
  return lane_sum(x, width, difference, add_square) / static_cast<float>(width);
}

/// y_d = fma((x_d - mean) * r, weight_d, bias_d), without what is not given. y may be x.
inline void write_normalized_row(const float* x, float* y, float mean, float r,
                                 const LayerNormArgs& args) {
  const float* const weight = args.weight;
  const float* const bias = args.bias;
  std::int64_t d = 0;
  for (; d + kVecLanes <= args.width; d += kVecLanes) {
    Vec v = (load(x + d) - Vec(mean)) * Vec(r);
    if (bias != nullptr) {
      v = fma(v, weight != nullptr ? load(weight + d) : Vec(1.0f), load(bias + d));
    } else if (weight != nullptr) {
      v = v * load(weight + d);
    }
    store(y + d, canonical(v));
  }
  for (; d < args.width; ++d) {
    float v = (x[d] - mean) * r;
    if (bias != nullptr) {
      v = __builtin_fmaf(v, weight != nullptr ? weight[d] : 1.0f, bias[d]);
    } else if (weight != nullptr) {
      v = v * weight[d];
    }
    y[d] = canonical(v);
  }
}

inline void layer_norm_rows(const LayerNormArgs& args) {
  for (std::int64_t row = 0; row < args.rows; ++row) {
    const float* const x = args.x + row * args.x_stride;
    const float mean = row_mean(x, args.width);
    const float variance = row_variance(x, args.width, mean);
    const float r = 1.0f / __builtin_sqrtf(variance + args.epsilon);
    write_normalized_row(x, args.y + row * args.y_stride, mean, r, args);
    if (args.mean != nullptr) args.mean[row] = canonical(mean);
    if (args.inverse_deviation != nullptr) args.inverse_deviation[row] = canonical(r);
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
