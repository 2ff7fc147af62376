#include "reference/rows.hpp"

#include "reference/scalar.hpp"

#include <cmath>
#include <cstddef>
#include <utility>

namespace rapt::reference {
namespace {

/// The indices of the two components of pair d.
struct Pair {
  std::size_t u, w;
};

Pair pair_at(const RopeView& table, std::int64_t d) {
  const auto at = static_cast<std::size_t>(d);
  if (table.style == Rope::interleaved) return {2 * at, 2 * at + 1};
  return {at, at + static_cast<std::size_t>(table.cos.shape[1])};
}

/// The row of the table for a row of q or k.
std::int64_t angle(const TensorView<const std::int64_t, 2>& given, const RowPlace& at) {
  return given.data == nullptr ? at.position : given(given.shape[0] == 1 ? 0 : at.batch, at.row);
}

bool normalizes_keys(const AttentionOptions& options) {
  return options.qk_norm && options.qk_norm->normalize_keys;
}

}  // namespace

std::vector<float> normalized(std::vector<float> x, std::span<const float> weight, float epsilon) {
  std::vector<float> squares_of_lane(16, 0.0f);
  for (std::size_t d = 0; d < x.size(); ++d) {
    float& lane = squares_of_lane[d % 16];
    lane = std::fma(x[d], x[d], lane);
  }
  for (std::size_t half = 8; half > 0; half /= 2) {
    for (std::size_t t = 0; t < half; ++t) squares_of_lane[t] += squares_of_lane[t + half];
  }
  const float mean = squares_of_lane[0] / static_cast<float>(x.size());
  const float r = 1.0f / std::sqrt(mean + epsilon);
  for (std::size_t d = 0; d < x.size(); ++d) {
    x[d] = x[d] * r;
    if (!weight.empty()) x[d] = x[d] * weight[d];
    x[d] = canonical(x[d]);
  }
  return x;
}

std::vector<float> rotated(std::vector<float> x, const RopeView& table, std::int64_t position) {
  if (table.cos.data == nullptr) return x;
  for (float& component : x) component = canonical(component);
  for (std::int64_t d = 0; d < table.cos.shape[1]; ++d) {
    const auto [u, w] = pair_at(table, d);
    const float cos = table.cos(position, d);
    const float sin = table.sin(position, d);
    const float new_u = std::fma(x[u], cos, -(x[w] * sin));
    x[w] = canonical(std::fma(x[u], sin, x[w] * cos));
    x[u] = canonical(new_u);
  }
  return x;
}

Row64 row64(const float* x, std::int64_t width) {
  Row64 row{{x, x + width}, {}};
  for (const double component : row.value) row.magnitude.push_back(std::abs(component));
  return row;
}

Row64 normalized64(Row64 x, std::span<const float> weight, float epsilon) {
  double sum = 0.0;
  for (const double component : x.value) sum += component * component;
  const double r = 1.0 / std::sqrt(sum / static_cast<double>(x.value.size()) + double{epsilon});
  for (std::size_t d = 0; d < x.value.size(); ++d) {
    x.value[d] *= r * (weight.empty() ? 1.0 : double{weight[d]});
    x.magnitude[d] = std::abs(x.value[d]);
  }
  return x;
}

Row64 rotated64(Row64 x, const RopeView& table, std::int64_t position) {
  if (table.cos.data == nullptr) return x;
  for (std::int64_t d = 0; d < table.cos.shape[1]; ++d) {
    const auto [u, w] = pair_at(table, d);
    const double cos{table.cos(position, d)};
    const double sin{table.sin(position, d)};
    const double xu = x.value[u], xw = x.value[w];
    x.value[u] = xu * cos - xw * sin;
    x.value[w] = xu * sin + xw * cos;
    x.magnitude[u] = std::abs(xu * cos) + std::abs(xw * sin);
    x.magnitude[w] = std::abs(xu * sin) + std::abs(xw * cos);
  }
  return x;
}

std::vector<float> query_row(const AttentionOptions& options, std::vector<float> row,
                             const RowPlace& at) {
  if (const auto& norm = options.qk_norm) {
    row = normalized(std::move(row), norm->q_weight, norm->epsilon);
  }
  return rotated(std::move(row), options.rope.table, angle(options.rope.q_positions, at));
}

std::vector<float> key_row(const AttentionOptions& options, std::vector<float> row,
                           const RowPlace& at) {
  if (normalizes_keys(options)) {
    row = normalized(std::move(row), options.qk_norm->k_weight, options.qk_norm->epsilon);
  }
  if (!options.rope.rotate_keys) return row;
  return rotated(std::move(row), options.rope.table, angle(options.rope.k_positions, at));
}

Row64 query_row64(const AttentionOptions& options, const std::vector<float>& q,
                  const RowPlace& at) {
  Row64 row = row64(q.data(), std::ssize(q));
  if (const auto& norm = options.qk_norm) {
    row = normalized64(std::move(row), norm->q_weight, norm->epsilon);
  }
  return rotated64(std::move(row), options.rope.table, angle(options.rope.q_positions, at));
}

Row64 key_row64(const AttentionOptions& options, const std::vector<float>& k, const RowPlace& at) {
  Row64 row = row64(k.data(), std::ssize(k));
  if (normalizes_keys(options)) {
    row = normalized64(std::move(row), options.qk_norm->k_weight, options.qk_norm->epsilon);
  }
  if (!options.rope.rotate_keys) return row;
  return rotated64(std::move(row), options.rope.table, angle(options.rope.k_positions, at));
}

}  // namespace rapt::reference
