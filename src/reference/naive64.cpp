#include "reference/naive64.hpp"

#include "reference/elements.hpp"
#include "reference/rows.hpp"
#include "reference/visibility.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace rapt::reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Row {
  TensorView<const void, 4> q, k, v;
  const AttentionOptions& options;
  double scale;
  std::int64_t batch, head, kv_head, query, position;
};

/// A score after the options, and the magnitudes of its terms.
struct Score {
  double value, magnitude;
};

Score with_options(const Row& row, Score s, double bias, std::int64_t key) {
  if (row.options.soft_cap) {
    const double cap{*row.options.soft_cap};
    s.value = cap * std::tanh(s.value / cap);
    s.magnitude += 8.0 * cap;
  }
  s.value += bias;
  s.magnitude += std::abs(bias);
  if (!row.options.alibi_slopes.empty()) {
    const double slope{row.options.alibi_slopes[static_cast<std::size_t>(row.head)]};
    const double fall = slope * std::abs(static_cast<double>(row.position - key));
    s.value -= fall;
    s.magnitude += std::abs(fall);
  }
  return s;
}

/// A score after the callback, which gets floats; assumed not to amplify errors.
Score after_callback(const Row& row, Score s, std::int64_t key) {
  if (!row.options.score_callback) return s;
  const double before = s.value;
  float natural = static_cast<float>(s.value);
  row.options.score_callback({.scores = &natural,
                              .row_stride = 1,
                              .rows = 1,
                              .columns = 1,
                              .first_query = row.query,
                              .first_position = row.position,
                              .first_key = key,
                              .head = row.head,
                              .batch = row.batch});
  s.value = double{natural};
  s.magnitude += 4.0 * std::abs(before);
  if (std::isfinite(natural)) s.magnitude += 4.0 * std::abs(s.value);
  return s;
}

/// Natural scores of one row, -inf for keys that it does not attend to; sets `largest` to S.
std::vector<double> scores(const Row& row, double& largest) {
  const std::int64_t kv_len = row.k.shape[2];
  const std::int64_t keys = sequence_keys(row.options, row.batch, kv_len);
  std::vector<double> s(static_cast<std::size_t>(kv_len), -kInfinity);
  const Row64 q = query_row64(row.options, row_elements(row.q, row.batch, row.head, row.query),
                              {row.batch, row.query, row.position});
  for (std::int64_t j = 0; j < keys; ++j) {
    if (!in_range(row.options.mask, row.batch, row.position, j, keys)) continue;
    if (!kept(row.options.bool_mask, row.batch, row.head, row.query, j)) continue;
    double bias = 0.0;
    if (row.options.bias.data != nullptr) {
      bias = double{broadcast_at(row.options.bias, row.batch, row.head, row.query, j)};
    }
    if (bias == -kInfinity) continue;
    double dot = 0.0;
    double magnitude = 0.0;
    const Row64 k =
        key_row64(row.options, row_elements(row.k, row.batch, row.kv_head, j), {row.batch, j, j});
    for (std::size_t d = 0; d < q.value.size(); ++d) {
      dot += q.value[d] * k.value[d];
      magnitude += q.magnitude[d] * k.magnitude[d];
    }
    const Score plain{row.scale * dot, std::abs(row.scale) * magnitude};
    const Score score = after_callback(row, with_options(row, plain, bias, j), j);
    s[static_cast<std::size_t>(j)] = score.value;
    largest = std::max(largest, score.magnitude);
  }
  return s;
}

/// The score of the head's sink, or -inf.
double sink_of(const Row& row) {
  if (row.options.sinks.empty()) return -kInfinity;
  return double{row.options.sinks[static_cast<std::size_t>(row.head)]};
}

void attend_row(const Row& row, Attention64& result) {
  double largest = 0.0;
  std::vector<double> p = scores(row, largest);
  std::int64_t attended = 0;
  double max = -kInfinity;
  for (const double s : p) {
    attended += s != -kInfinity ? 1 : 0;
    max = s > max ? s : max;
  }
  const double sink = sink_of(row);
  max = std::max(max, sink);
  if (sink != -kInfinity) largest = std::max(largest, std::abs(sink));
  double sum = sink == -kInfinity ? 0.0 : std::exp(sink - max);
  for (double& s : p) {
    s = s == -kInfinity ? 0.0 : std::exp(s - max);
    sum += s;
  }
  for (std::int64_t d = 0; d < row.v.shape[3]; ++d) {
    double out = 0.0;
    double magnitude = 0.0;
    double v_max = 0.0;
    for (std::size_t j = 0; j < p.size(); ++j) {
      if (p[j] == 0.0) continue;
      const double v =
          double{element(row.v, row.batch, row.kv_head, static_cast<std::int64_t>(j), d)};
      out += p[j] / sum * v;
      magnitude += p[j] / sum * std::abs(v);
      v_max = std::max(v_max, std::abs(v));
    }
    result.out.push_back(out);
    result.value_sum.push_back(magnitude);
    result.value_max.push_back(v_max);
  }
  for (const double weight : p) result.weights.push_back(attended == 0 ? 0.0 : weight / sum);
  result.lse.push_back(sum == 0.0 ? -kInfinity : max + std::log(sum));
  result.score_sum.push_back(largest);
  result.attended.push_back(attended);
}

}  // namespace

Attention64 attention64(TensorView<const void, 4> q, TensorView<const void, 4> k,
                        TensorView<const void, 4> v, const AttentionOptions& options) {
  const auto [batches, heads, q_len, head_dim] = q.shape;
  const double scale = options.softmax_scale ? double{*options.softmax_scale}
                                             : 1.0 / std::sqrt(static_cast<double>(head_dim));
  Attention64 result;
  for (std::int64_t b = 0; b < batches; ++b) {
    const std::int64_t keys = sequence_keys(options, b, k.shape[2]);
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t kv_head = h / (heads / k.shape[1]);
      for (std::int64_t i = 0; i < q_len; ++i) {
        const std::int64_t position = query_position(options.mask, b, i, q_len, keys);
        attend_row({q, k, v, options, scale, b, h, kv_head, i, position}, result);
      }
    }
  }
  return result;
}

Linear64 linear64(TensorView<const void, 2> x, TensorView<const void, 2> weight,
                  std::span<const float> bias) {
  Linear64 result;
  for (std::int64_t i = 0; i < x.shape[0]; ++i) {
    for (std::int64_t e = 0; e < weight.shape[0]; ++e) {
      const double b = bias.empty() ? 0.0 : double{bias[static_cast<std::size_t>(e)]};
      double y = b;
      double magnitude = std::abs(b);
      for (std::int64_t d = 0; d < x.shape[1]; ++d) {
        const double product = double{element(x, i, d)} * double{element(weight, e, d)};
        y += product;
        magnitude += std::abs(product);
      }
      result.y.push_back(y);
      result.magnitude.push_back(magnitude);
    }
  }
  return result;
}

}  // namespace rapt::reference
