// Steps are numbered as in docs/arithmetic.md.
//   B batch, H query heads, b, h, i, j, d: sequence, head, query, key, component
#include "reference/scalar.hpp"

#include "kernels/abi/arithmetic.hpp"
#include "reference/elements.hpp"
#include "reference/rows.hpp"
#include "reference/visibility.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <vector>

namespace rapt::reference {
namespace {

using kernels::kKeyBlock;
using kernels::kLanes;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();

/// One row of one head: what the steps below read.
struct Row {
  TensorView<const void, 4> k, v;
  const AttentionOptions& options;
  std::int64_t batch, head, kv_head, query;
  std::int64_t position;  // of the query among the keys
  std::int64_t keys;      // that exist for this sequence
  const RowScales* scales;
};

/// The sums of one key block, or of several folded ones: m the maximum, l the sum of the weights, o
/// the weighted values, all relative to exp2(m).
struct State {
  float m;
  float l;
  std::vector<float> o;
};

// 1. The query, normalised and rotated, then q' = q * c, with c = softmax_scale * log2(e) rounded
// once.
std::vector<float> scaled_query(TensorView<const void, 4> q, const Row& row) {
  const std::int64_t head_dim = q.shape[3];
  const std::optional<float> set = row.options.softmax_scale;
  const double scale = set ? double{*set} : 1.0 / std::sqrt(static_cast<double>(head_dim));
  const float c = static_cast<float>(scale * kernels::kLog2E);
  std::vector<float> scaled =
      query_row(row.options, row_elements(q, row.batch, row.head, row.query),
                {row.batch, row.query, row.position});
  for (float& component : scaled) component *= c;
  return scaled;
}

/// x * log2(e), rounded once.
float to_base_2(float x) { return static_cast<float>(double{x} * kernels::kLog2E); }

// 2, the options: soft cap, then bias, then ALiBi. A bias as low as -FLT_MAX is an ordinary value:
// times log2(e) it would become -inf and hide the key, so the sum saturates at the lowest float.
float with_options(const Row& row, float s, float bias, std::int64_t j) {
  const AttentionOptions& options = row.options;
  if (options.soft_cap) {
    const float cap = to_base_2(*options.soft_cap);
    s = cap * tanh(s / cap);
  }
  if (options.bias.data != nullptr) {
    s = std::fma(bias, static_cast<float>(kernels::kLog2E), s);
    if (s < kLowest) s = kLowest;  // a NaN stays
  }
  if (!options.alibi_slopes.empty()) {
    const float slope = to_base_2(options.alibi_slopes[static_cast<std::size_t>(row.head)]);
    s = std::fma(-slope, static_cast<float>(std::abs(row.position - j)), s);
  }
  return s;
}

// 2, the score callback: natural scores in tiles of one element, so that nothing can depend on
// tiles. -FLT_MAX is an ordinary value, as in a bias.
float after_callback(const Row& row, float s, std::int64_t j) {
  if (!row.options.score_callback) return s;
  float natural = s * static_cast<float>(kernels::kLn2);
  row.options.score_callback({.scores = &natural,
                              .row_stride = 1,
                              .rows = 1,
                              .columns = 1,
                              .first_query = row.query,
                              .first_position = row.position,
                              .first_key = j,
                              .head = row.head,
                              .batch = row.batch});
  if (natural == -kInfinity) return natural;
  s = natural * static_cast<float>(kernels::kLog2E);
  return s < kLowest ? kLowest : s;  // a NaN stays
}

// 2. s_j = <q', k_j>, the key normalised and rotated, by a chain over ascending d, then the
// options. -inf: the row does not attend to the key, whose memory is not read if it is masked.
float score(const Row& row, const std::vector<float>& scaled, std::int64_t j) {
  const AttentionOptions& options = row.options;
  if (!in_range(options.mask, row.batch, row.position, j, row.keys)) return -kInfinity;
  if (!kept(options.bool_mask, row.batch, row.head, row.query, j)) return -kInfinity;
  const bool biased = options.bias.data != nullptr;
  const float bias = biased ? broadcast_at(options.bias, row.batch, row.head, row.query, j) : 0.0f;
  if (bias == -kInfinity) return -kInfinity;

  float s = 0.0f;
  const std::vector<float> k =
      key_row(options, row_elements(row.k, row.batch, row.kv_head, j), {row.batch, j, j});
  for (std::size_t d = 0; d < scaled.size(); ++d) s = std::fma(scaled[d], k[d], s);
  if (row.scales != nullptr) s *= row.scales->k(row.batch, row.kv_head, j);
  return after_callback(row, with_options(row, s, bias, j), j);
}

// 3. l_b = sum of p_j: lane t adds those with j mod 16 = t, then the lanes are added pairwise.
float lane_sum(const std::vector<float>& p) {
  std::array<float, kLanes> lane{};
  for (std::size_t j = 0; j < p.size(); ++j) lane[j % kLanes] += p[j];
  for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::size_t t = 0; t < half; ++t) lane[t] += lane[t + half];
  }
  return lane[0];
}

// 4. One key block on its own. p: the scores, replaced by the weights relative to exp2(m_b),
// exactly 0 where the row does not attend. Nothing for an empty block.
std::optional<State> block_state(const Row& row, std::int64_t first_key, std::vector<float>& p) {
  const auto attended = [](float s) {
    return s != -kInfinity;
  };  // A NaN is: it must reach the row.
  if (std::none_of(p.begin(), p.end(), attended)) return std::nullopt;

  State block{-kInfinity, 0.0f, std::vector<float>(static_cast<std::size_t>(row.v.shape[3]), 0.0f)};
  for (const float s : p) {
    if (s > block.m) block.m = s;  // false for a NaN
  }
  for (std::size_t j = 0; j < p.size(); ++j) {
    if (!attended(p[j])) {
      p[j] = 0.0f;
      continue;
    }
    p[j] = exp2(p[j] - block.m);
    if (block.o.empty()) continue;
    const std::int64_t key = first_key + static_cast<std::int64_t>(j);
    const std::vector<float> v = row_elements(row.v, row.batch, row.kv_head, key);
    float w = p[j];
    if (row.scales != nullptr) w *= row.scales->v(row.batch, row.kv_head, key);
    for (std::size_t d = 0; d < block.o.size(); ++d) block.o[d] = std::fma(w, v[d], block.o[d]);
  }
  block.l = lane_sum(p);
  return block;
}

// 5. The fold of the next block into the running state.
void fold(State& state, const State& block) {
  const float m = block.m > state.m ? block.m : state.m;
  const float a = exp2(state.m - m);
  const float b = exp2(block.m - m);
  state.m = m;
  state.l = std::fma(state.l, a, block.l * b);
  for (std::size_t d = 0; d < state.o.size(); ++d) {
    state.o[d] = std::fma(state.o[d], a, block.o[d] * b);
  }
}

/// The row's weights before the fold: p_j relative to exp2(m) of the block of key j.
struct Weights {
  std::vector<float> p;                 // [keys], 0 where the row does not attend
  std::vector<bool> attended;           // [keys]
  std::vector<std::optional<float>> m;  // of each block; nothing for an empty one
};

// 6, a state to continue from, left by earlier keys; nothing if the row saw none, whatever its o
// holds. A NaN m is not a maximum: it is represented by a NaN in l.
std::optional<State> earlier_state(const Row& row) {
  const AttentionState<const float>& in = row.options.state_in;
  if (!in) return std::nullopt;
  State state{in.m(row.batch, row.head, row.query), in.l(row.batch, row.head, row.query), {}};
  if (state.m == -kInfinity && state.l == 0.0f) return std::nullopt;
  if (std::isnan(state.m)) state = {-kInfinity, state.m, {}};
  for (std::int64_t d = 0; d < row.v.shape[3]; ++d) {
    state.o.push_back(in.o(row.batch, row.head, row.query, d));
  }
  return state;
}

// 6. All blocks of the row, left to right; the first that is not empty is copied.
std::optional<State> fold_blocks(const Row& row, const std::vector<float>& scaled,
                                 Weights& weights) {
  std::optional<State> state = earlier_state(row);
  for (std::int64_t first = 0; first < row.keys; first += kKeyBlock) {
    std::vector<float> p;
    for (std::int64_t j = first; j < std::min(first + kKeyBlock, row.keys); ++j) {
      p.push_back(score(row, scaled, j));
      weights.attended.push_back(p.back() != -kInfinity);
    }
    const std::optional<State> block = block_state(row, first, p);
    weights.p.insert(weights.p.end(), p.begin(), p.end());
    weights.m.push_back(block ? std::optional(block->m) : std::nullopt);
    if (!block) continue;
    if (state) {
      fold(*state, *block);
    } else {
      state = block;
    }
  }
  return state;
}

// 6, the sink: a key with a score and no value, folded after the blocks.
std::optional<State> with_sink(const Row& row, std::optional<State> state) {
  if (row.options.sinks.empty()) return state;
  const float sink = to_base_2(row.options.sinks[static_cast<std::size_t>(row.head)]);
  if (sink == -kInfinity) return state;
  if (!state) {
    return State{sink, 1.0f, std::vector<float>(static_cast<std::size_t>(row.v.shape[3]), 0.0f)};
  }
  const float m = sink > state->m ? sink : state->m;
  const float a = exp2(state->m - m);
  state->l = std::fma(state->l, a, exp2(sink - m));
  for (float& o : state->o) o = std::fma(o, a, 0.0f);
  state->m = m;
  return state;
}

// 7. lse = (m + log2(l)) * ln(2) in double, rounded once. A saturated m stands for any
// score at or below it: its lse is the lowest float.
float log_sum_exp(const State& state) {
  if (state.m == kLowest && !std::isnan(state.l)) return kLowest;
  if (std::isnan(state.l)) return canonical(state.l);
  return canonical(static_cast<float>((double{state.m} + log2(state.l)) * kernels::kLn2));
}

// 8. w_j = p_j * (exp2(m_b - m) / l), 0 where the row does not attend and beyond the sequence's
// end.
void write_weights(const Row& row, const Weights& weights, const std::optional<State>& state,
                   float inverse) {
  const TensorView<float, 4>& out = row.options.weights;
  if (out.data == nullptr) return;
  for (std::int64_t j = 0; j < out.shape[3]; ++j) {
    float& w = out(row.batch, row.head, row.query, j);
    w = 0.0f;
    if (j >= row.keys || !weights.attended[static_cast<std::size_t>(j)]) continue;
    const float m_b = *weights.m[static_cast<std::size_t>(j / kKeyBlock)];
    const float g = exp2(m_b - state->m) * inverse;
    w = canonical(weights.p[static_cast<std::size_t>(j)] * g);
  }
}

// 6, the state to pass on, without the sink. As in out, -0 could depend on keys that do not exist,
// and whether a maximum of zeros is -0 or +0 is unspecified.
void write_state(const Row& row, const std::optional<State>& state) {
  const AttentionState<float>& out = row.options.state_out;
  if (!out) return;
  out.m(row.batch, row.head, row.query) = state ? state->m + 0.0f : -kInfinity;
  out.l(row.batch, row.head, row.query) = state ? canonical(state->l) : 0.0f;
  for (std::int64_t d = 0; d < row.v.shape[3]; ++d) {
    const float o = state ? state->o[static_cast<std::size_t>(d)] : 0.0f;
    out.o(row.batch, row.head, row.query, d) = canonical(o + 0.0f);
  }
}

void attend_row(TensorView<const void, 4> q, TensorView<void, 4> out, const Row& row) {
  Weights weights;
  const std::optional<State> passed_on = fold_blocks(row, scaled_query(q, row), weights);
  write_state(row, passed_on);
  const std::optional<State> state = with_sink(row, passed_on);
  const float inverse = state ? 1.0f / state->l : 0.0f;
  for (std::int64_t d = 0; d < out.shape[3]; ++d) {
    // Adding +0 turns -0 into +0: the sign of a zero could depend on masked keys.
    const float x =
        state ? canonical(std::fma(state->o[static_cast<std::size_t>(d)], inverse, 0.0f)) : 0.0f;
    set_element(out, x, row.batch, row.head, row.query, d);
  }
  if (row.options.lse.data != nullptr) {
    row.options.lse(row.batch, row.head, row.query) = state ? log_sum_exp(*state) : -kInfinity;
  }
  write_weights(row, weights, state, inverse);
}

}  // namespace

void attend_rows(TensorView<const void, 4> q, TensorView<const void, 4> k,
                 TensorView<const void, 4> v, const RowScales* scales, TensorView<void, 4> out,
                 const AttentionOptions& options) {
  const auto [batches, heads, q_len, value_dim] = out.shape;
  for (std::int64_t b = 0; b < batches; ++b) {
    const std::int64_t keys = sequence_keys(options, b, k.shape[2]);
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t kv_head = h / (heads / k.shape[1]);
      for (std::int64_t i = 0; i < q_len; ++i) {
        const std::int64_t position = query_position(options.mask, b, i, q_len, keys);
        attend_row(q, out, {k, v, options, b, h, kv_head, i, position, keys, scales});
      }
    }
  }
}

}  // namespace rapt::reference
