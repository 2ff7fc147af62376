// The error of a multi-head attention layer in f32 against the exact one, as a formula.
//
// The worst case, all roundings at their largest and of one sign, exceeds real errors of this layer
// ten-thousandfold and would hide most bugs. So this is the statistical bound: roundings are
// independent with mean 0 and deviation at most u (Higham and Mary, "A new approach to
// probabilistic rounding error analysis", 2019), so they add up in quadrature. It does not depend
// on the order of sums and so holds for any f32 implementation.
#pragma once

#include "layer/layer_problem.hpp"
#include "support/bounds.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rapt::test {

/// Standard deviations between the exact result and the bound: one value in 10^15 exceeds it by
/// chance.
inline constexpr double kDeviations = 8.0;

/// A matrix in float64, and the standard deviation of the f32 error of each element. [rows,
/// columns]
struct Estimate {
  std::size_t columns = 0;
  std::vector<double> value;
  std::vector<double> deviation;

  double at(std::size_t row, std::size_t column) const { return value[row * columns + column]; }
  double off(std::size_t row, std::size_t column) const {
    return deviation[row * columns + column];
  }
};

inline double square(double x) { return x * x; }

/// A sum of `roundings` rounded terms: the partial sums have the size of sqrt(squares), and each is
/// rounded once.
/// rounded once.
inline double sum_variance(double roundings, double squares) {
  return roundings * square(kUnitRoundoff) * squares;
}

inline Estimate exact_input(const std::vector<float>& x, std::int64_t columns) {
  return {static_cast<std::size_t>(columns), {x.begin(), x.end()}, std::vector<double>(x.size())};
}

/// y = x W^T + b: the errors of x pass through W, plus in + 1 roundings.
inline Estimate project(const Projection& p, const Estimate& x) {
  const auto in = static_cast<std::size_t>(p.in);
  Estimate y{static_cast<std::size_t>(p.out), {}, {}};
  for (std::size_t row = 0; row < x.value.size() / in; ++row) {
    for (std::size_t o = 0; o < y.columns; ++o) {
      const double bias = p.bias.empty() ? 0.0 : double{p.bias[o]};
      double sum = bias;
      double squares = square(bias);
      double inherited = 0.0;
      for (std::size_t i = 0; i < in; ++i) {
        const double w = p.weight[o * in + i];
        sum += x.at(row, i) * w;
        squares += square(x.at(row, i) * w);
        inherited += square(x.off(row, i) * w);
      }
      y.value.push_back(sum);
      y.deviation.push_back(
          std::sqrt(inherited + sum_variance(static_cast<double>(in) + 1.0, squares)));
    }
  }
  return y;
}

/// QK-norm of each head: y_d = x_d r w_d, r = 1 / sqrt(mean x^2 + epsilon).
///   an error e of x moves y by r w_d (e_d - x_d r^2 mean(x e)); head_dim + 8 roundings of the sum,
///   r and the products, each at most u |y_d|
inline Estimate normalize(const Estimate& x, std::size_t head_dim, const std::vector<float>& weight,
                          double epsilon) {
  Estimate y{x.columns, {}, {}};
  const auto count = static_cast<double>(head_dim);
  for (std::size_t begin = 0; begin < x.value.size(); begin += head_dim) {
    double squares = 0.0;
    double inherited = 0.0;
    for (std::size_t i = begin; i < begin + head_dim; ++i) {
      squares += square(x.value[i]);
      inherited += square(x.value[i] * x.deviation[i]);
    }
    const double r = 1.0 / std::sqrt(squares / count + epsilon);
    for (std::size_t d = 0; d < head_dim; ++d) {
      const double w = weight.empty() ? 1.0 : double{weight[d]};
      const double value = x.value[begin + d];
      const double variance = square(r * w) * (square(x.deviation[begin + d]) +
                                               square(value * r * r / count) * inherited);
      y.value.push_back(value * r * w);
      y.deviation.push_back(
          std::sqrt(variance + sum_variance(count + 8.0, square(y.value.back()))));
    }
  }
  return y;
}

/// RoPE in halves without scaling, token t at position t: errors are rotated too; two roundings and
/// those of the table's entries, each at most u of the pair's length.
inline void rotate(Estimate& x, std::size_t head_dim, const RopeConfig& rope) {
  const auto pairs = static_cast<std::size_t>(rope.rotary_dims / 2);
  for (std::size_t begin = 0; begin < x.value.size(); begin += head_dim) {
    const auto position = static_cast<double>(begin / x.columns);
    for (std::size_t d = 0; d < pairs; ++d) {
      const double angle =
          position * std::pow(rope.base, -static_cast<double>(d) / static_cast<double>(pairs));
      const double c = std::cos(angle), s = std::sin(angle);
      double& u = x.value[begin + d];
      double& w = x.value[begin + d + pairs];
      double& u_off = x.deviation[begin + d];
      double& w_off = x.deviation[begin + d + pairs];
      const double rounded = sum_variance(3.0, square(u) + square(w));
      const double new_u_off = std::sqrt(square(c * u_off) + square(s * w_off) + rounded);
      w_off = std::sqrt(square(s * u_off) + square(c * w_off) + rounded);
      u_off = new_u_off;
      const double new_u = u * c - w * s;
      w = u * s + w * c;
      u = new_u;
    }
  }
}

/// The scores of one query of one head against the first keys, each with its deviation.
///   the errors of q and k; head_dim + 2 roundings of the sum and of the scaled query;
///   s - max is rounded, twice with a fold: 2 u max|s|; exp and the fold's: 2 ULP each, 4 u
///   q_column, k_column: where the head and its kv head begin
inline Estimate scores(const Estimate& q, const Estimate& k, std::size_t query,
                       std::size_t q_column, std::size_t k_column, std::size_t head_dim,
                       std::size_t keys) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  Estimate s{1, {}, {}};
  double largest = 0.0;
  for (std::size_t j = 0; j < keys; ++j) {
    double sum = 0.0;
    double squares = 0.0;
    double inherited = 0.0;
    for (std::size_t d = 0; d < head_dim; ++d) {
      const std::size_t a = q_column + d, b = k_column + d;
      sum += q.at(query, a) * k.at(j, b);
      squares += square(q.at(query, a) * k.at(j, b));
      inherited += square(q.off(query, a) * k.at(j, b)) + square(q.at(query, a) * k.off(j, b));
    }
    s.value.push_back(sum * scale);
    s.deviation.push_back(square(scale) *
                          (inherited + sum_variance(static_cast<double>(head_dim) + 2.0, squares)));
    largest = std::max(largest, std::abs(s.value.back()));
  }
  for (double& variance : s.deviation) {
    variance = std::sqrt(variance + 4.0 * square(kUnitRoundoff) * (square(largest) + 4.0));
  }
  return s;
}

/// z_i = sum_j a_ij v_j for one query of one head, appended to z.
///   a score off by e_j moves z by a_j (v_j - z) e_j; the e_j share the query's error, so they are
///   added by magnitude; the errors of v pass with weight a_j; keys + 4 roundings of the sum and of
///   1 / l.
inline void attend(const Estimate& s, const Estimate& v, std::size_t column, std::size_t value_dim,
                   Estimate& z) {
  const std::size_t keys = s.value.size();
  const double largest = *std::ranges::max_element(s.value);
  std::vector<double> a;
  double l = 0.0;
  for (const double score : s.value) l += a.emplace_back(std::exp(score - largest));
  for (std::size_t d = column; d < column + value_dim; ++d) {
    double sum = 0.0;
    for (std::size_t j = 0; j < keys; ++j) sum += a[j] / l * v.at(j, d);
    double from_scores = 0.0;
    double from_values = 0.0;
    double squares = 0.0;
    for (std::size_t j = 0; j < keys; ++j) {
      from_scores += a[j] / l * std::abs(v.at(j, d) - sum) * s.deviation[j];
      from_values += square(a[j] / l * v.off(j, d));
      squares += square(a[j] / l * v.at(j, d));
    }
    z.value.push_back(sum);
    z.deviation.push_back(std::sqrt(square(from_scores) + from_values +
                                    sum_variance(static_cast<double>(keys) + 4.0, squares)));
  }
}

/// Self-attention of one sequence x [tokens, model_dim], default scale.
inline Estimate estimate_layer(const LayerProblem& p, const std::vector<float>& x,
                               bool causal = false) {
  const MultiHeadAttentionConfig& c = p.config;
  const Estimate input = exact_input(x, c.model_dim);
  Estimate q = project(p.query, input);
  Estimate k = project(p.key, input);
  const Estimate v = project(p.value, input);
  const auto head_dim = static_cast<std::size_t>(c.head_dim);
  const auto value_dim = static_cast<std::size_t>(c.value_dim);
  if (c.qk_norm_epsilon) {
    q = normalize(q, head_dim, p.query_norm, double{*c.qk_norm_epsilon});
    k = normalize(k, head_dim, p.key_norm, double{*c.qk_norm_epsilon});
  }
  if (p.rope != nullptr) {
    rotate(q, head_dim, p.rope->config());
    rotate(k, head_dim, p.rope->config());
  }
  const std::size_t heads = q.columns / head_dim, group = heads / (k.columns / head_dim);
  const std::size_t tokens = q.value.size() / q.columns;
  Estimate z{heads * value_dim, {}, {}};
  for (std::size_t i = 0; i < tokens; ++i) {
    for (std::size_t h = 0; h < heads; ++h) {
      const std::size_t kv = h / group;
      attend(scores(q, k, i, h * head_dim, kv * head_dim, head_dim, causal ? i + 1 : tokens), v,
             kv * value_dim, value_dim, z);
    }
  }
  return p.output.out == 0 ? z : project(p.output, z);
}

}  // namespace rapt::test
