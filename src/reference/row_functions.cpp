#include "reference/row_functions.hpp"

#include "kernels/abi/arithmetic.hpp"
#include "reference/scalar.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>

namespace rapt::reference {
namespace {

using Lanes = std::array<float, kernels::kLanes>;

/// Lanes t and t + 8 are added, then t + 4, t + 2, t + 1.
float sum_of(Lanes lanes) {
  for (std::size_t half = lanes.size() / 2; half > 0; half /= 2) {
    for (std::size_t t = 0; t < half; ++t) lanes[t] += lanes[t + half];
  }
  return lanes[0];
}

/// Component d of a weight or a bias that may be empty.
double at(std::span<const float> values, std::size_t d, double otherwise) {
  return values.empty() ? otherwise : double{values[d]};
}

}  // namespace

LayerNormRow<float> layer_norm(std::span<const float> x, std::span<const float> weight,
                               std::span<const float> bias, float epsilon) {
  const auto width = static_cast<float>(x.size());
  Lanes sums{}, squares{};
  for (std::size_t d = 0; d < x.size(); ++d) sums[d % sums.size()] += x[d];
  const float mean = sum_of(sums) / width;
  for (std::size_t d = 0; d < x.size(); ++d) {
    const float difference = x[d] - mean;
    float& lane = squares[d % squares.size()];
    lane = std::fma(difference, difference, lane);
  }
  const float r = 1.0f / std::sqrt(sum_of(squares) / width + epsilon);

  LayerNormRow<float> row{{}, canonical(mean), canonical(r)};
  for (std::size_t d = 0; d < x.size(); ++d) {
    float y = (x[d] - mean) * r;
    if (!bias.empty()) {
      y = std::fma(y, weight.empty() ? 1.0f : weight[d], bias[d]);
    } else if (!weight.empty()) {
      y = y * weight[d];
    }
    row.y.push_back(canonical(y));
  }
  return row;
}

LayerNormRow<double> layer_norm64(std::span<const float> x, std::span<const float> weight,
                                  std::span<const float> bias, float epsilon) {
  const auto width = static_cast<double>(x.size());
  double sum = 0.0, squares = 0.0;
  for (const double component : x) sum += component;
  const double mean = sum / width;
  for (const double component : x) squares += (component - mean) * (component - mean);
  const double r = 1.0 / std::sqrt(squares / width + double{epsilon});
  LayerNormRow<double> row{{}, mean, r};
  for (std::size_t d = 0; d < x.size(); ++d) {
    row.y.push_back((double{x[d]} - mean) * r * at(weight, d, 1.0) + at(bias, d, 0.0));
  }
  return row;
}

std::vector<float> softmax(std::span<const float> x) {
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  if (std::ranges::count(x, kHidden) == std::ssize(x)) return std::vector<float>(x.size(), 0.0f);

  float m = kHidden;
  for (const float component : x) m = component > m ? component : m;  // never a NaN
  Lanes lanes{};
  std::vector<float> y(x.size());
  for (std::size_t d = 0; d < x.size(); ++d) {
    y[d] = exp2((x[d] - m) * static_cast<float>(kernels::kLog2E));
    lanes[d % lanes.size()] += y[d];
  }
  const float r = 1.0f / sum_of(lanes);
  for (float& component : y) component = canonical(component * r);
  return y;
}

std::vector<double> softmax64(std::span<const float> x) {
  const double m{*std::ranges::max_element(x)};
  double sum = 0.0;
  std::vector<double> y;
  for (const double component : x) sum += y.emplace_back(std::exp(component - m));
  for (double& component : y) component /= sum;
  return y;
}

}  // namespace rapt::reference
