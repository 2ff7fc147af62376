#include "support/problem_rows.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

void make_qk_norm(Problem& problem) {
  const Spec& spec = problem.spec;
  QkNorm& norm = problem.options.qk_norm.emplace();
  norm.epsilon = *spec.qk_norm;
  norm.normalize_keys = spec.qk_norm_keys;
  if (!spec.qk_norm_weights) return;
  const auto dims = static_cast<std::size_t>(spec.shape.head_dim);
  problem.q_weight = normal_floats(dims, spec.seed + 4000);
  problem.k_weight = normal_floats(dims, spec.seed + 5000);
  norm.q_weight = problem.q_weight;
  if (spec.qk_norm_keys) norm.k_weight = problem.k_weight;
}

/// A RoPE table for this problem, whose rows have gaps of NaN.
void make_rope(Problem& problem) {
  const Spec& spec = problem.spec;
  const Shape& s = spec.shape;
  const std::int64_t pairs = std::max<std::int64_t>(s.head_dim / (spec.rope_whole ? 2 : 4), 1);
  const std::int64_t rows = s.q_len + s.kv_len + 1000;
  Random random(spec.seed + 3000);
  problem.cos.assign(static_cast<std::size_t>(rows * (pairs + 1)), kNaN);
  problem.sin.assign(static_cast<std::size_t>(rows * (pairs + 2)), kNaN);
  RopeView& table = problem.options.rope.table;
  table = {*spec.rope,
           {problem.cos.data(), {rows, pairs}, {pairs + 1, 1}},
           {problem.sin.data(), {rows, pairs}, {pairs + 2, 1}}};
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t d = 0; d < pairs; ++d) {
      const float angle = 3.0f * random.normal();
      problem.cos[static_cast<std::size_t>(row * (pairs + 1) + d)] = std::cos(angle);
      problem.sin[static_cast<std::size_t>(row * (pairs + 2) + d)] = std::sin(angle);
    }
  }
}

/// Explicit positions of queries and keys if the spec has them, and of queries that the mask puts
/// before position 0.
void make_positions(Problem& problem) {
  const Spec& spec = problem.spec;
  const Shape& s = spec.shape;
  RopeOptions& rope = problem.options.rope;
  rope.rotate_keys = spec.rope_rotate_keys;
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t i = 0; i < s.q_len; ++i) {
      problem.q_positions.push_back(3 * b + (s.q_len - i) % 700);
    }
    for (std::int64_t j = 0; j < s.kv_len; ++j) {
      problem.k_positions.push_back((s.kv_len - j) % 900 + b);
    }
  }
  const Mask& mask = problem.options.mask;
  const bool before = mask.align == Mask::Align::bottom_right || mask.query_offset < 0 ||
                      mask.query_offset > 1000 || spec.offset_per_sequence;
  if (spec.rope_positions || before) {
    rope.q_positions = {problem.q_positions.data(), {s.batch, s.q_len}};
  }
  if (spec.rope_positions && spec.rope_rotate_keys) {
    rope.k_positions = {problem.k_positions.data(), {s.batch, s.kv_len}};
  }
}

}  // namespace

void make_row_options(Problem& problem) {
  if (problem.spec.qk_norm) make_qk_norm(problem);
  if (!problem.spec.rope || problem.spec.shape.head_dim < 2) return;
  make_rope(problem);
  make_positions(problem);
}

}  // namespace rapt::test
