// layer_norm() and softmax() of one row: as plain loops, bit for bit, and in float64.
#pragma once

#include <span>
#include <vector>

namespace rapt::reference {

/// The outputs of layer_norm() for a row.
template <class T>
struct LayerNormRow {
  std::vector<T> y;
  T mean, inverse_deviation;
};

/// weight and bias: [x.size()] or empty.
LayerNormRow<float> layer_norm(std::span<const float> x, std::span<const float> weight,
                               std::span<const float> bias, float epsilon);
LayerNormRow<double> layer_norm64(std::span<const float> x, std::span<const float> weight,
                                  std::span<const float> bias, float epsilon);

std::vector<float> softmax(std::span<const float> x);
/// Without NaN, +inf and rows of nothing but -inf.
std::vector<double> softmax64(std::span<const float> x);

}  // namespace rapt::reference
