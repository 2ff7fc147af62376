// layer_norm() and softmax() of one row: as plain loops, bit for bit, and in float64; and functions
// of rows over tensors of any type.
#pragma once

#include "rapt/tensor.hpp"
#include "reference/elements.hpp"

#include <cstddef>
#include <cstdint>
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

/// Rows [rows, width] of any type: y_i = function(x_i), of the widened row, rounded once.
template <class Function>
void each_row(const TensorView<const void, 2>& x, const TensorView<void, 2>& y,
              const Function& function) {
  for (std::int64_t i = 0; i < x.shape[0]; ++i) {
    std::vector<float> row;
    for (std::int64_t d = 0; d < x.shape[1]; ++d) row.push_back(element(x, i, d));
    const std::vector<float> result = function(row);
    for (std::int64_t d = 0; d < y.shape[1]; ++d) {
      set_element(y, result[static_cast<std::size_t>(d)], i, d);
    }
  }
}

std::vector<float> softmax(std::span<const float> x);
/// Without NaN, +inf and rows of nothing but -inf.
std::vector<double> softmax64(std::span<const float> x);

}  // namespace rapt::reference
