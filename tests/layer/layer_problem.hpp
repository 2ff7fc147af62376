// A multi-head attention layer with seeded weights, and the same layer composed from the scalar
// statement: the tests of the layer compare them bit for bit.
#pragma once

#include "rapt/rapt.hpp"
#include "reference/scalar.hpp"
#include "support/problems.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace rapt::test {

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// One projection as PyTorch stores it: weight [out, in], bias [out] or empty.
struct Projection {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::vector<float> weight;
  std::vector<float> bias;

  TensorView<const float, 2> matrix() const { return {weight.data(), {out, in}}; }
  Linear packed() const { return out == 0 ? Linear() : Linear(matrix(), bias); }
};

inline Projection make_projection(std::uint64_t seed, std::int64_t in, std::int64_t out,
                                  bool has_bias) {
  Projection p{in, out, normal_floats(static_cast<std::size_t>(in * out), seed), {}};
  for (float& w : p.weight) w *= 0.25f;  // Exact; keeps sums over the features near 1.
  if (has_bias) p.bias = normal_floats(static_cast<std::size_t>(out), seed + 1);
  return p;
}

/// A layer with all sizes explicit, and its weights.
struct LayerProblem {
  MultiHeadAttentionConfig config;
  Projection query, key, value, output;         // output.out == 0: none
  std::vector<float> query_norm{}, key_norm{};  // empty: none, or all 1
  std::shared_ptr<const RopeTable> rope{};      // of config.rope

  MultiHeadAttentionWeights weights() const {
    return {query.packed(), key.packed(), value.packed(), output.packed(), query_norm, key_norm};
  }
  MultiHeadAttention layer() const { return {config, weights()}; }
  std::int64_t output_features() const {
    return output.out == 0 ? config.num_heads * config.value_dim : output.out;
  }
};

struct LayerSwitches {
  bool bias = true;
  bool output = true;
};

inline LayerProblem make_layer(std::uint64_t seed, const MultiHeadAttentionConfig& c,
                               LayerSwitches switches = {}) {
  LayerProblem p{c, {}, {}, {}, {}};
  p.query = make_projection(seed, c.model_dim, c.num_heads * c.head_dim, switches.bias);
  p.key = make_projection(seed + 2, c.kv_model_dim, c.num_kv_heads * c.head_dim, switches.bias);
  p.value = make_projection(seed + 4, c.kv_model_dim, c.num_kv_heads * c.value_dim, switches.bias);
  const std::int64_t joined = c.num_heads * c.value_dim;
  if (!switches.output) p.config.output_dim = 0;
  if (switches.output) p.output = make_projection(seed + 6, joined, c.output_dim, switches.bias);
  return p;
}

/// The same layer with a QK-norm of random weights and RoPE of part of each head.
inline void add_norm_and_rope(LayerProblem& p, std::uint64_t seed) {
  const std::int64_t head_dim = p.config.head_dim;
  p.config.qk_norm_epsilon = 1e-5f;
  p.query_norm = normal_floats(static_cast<std::size_t>(head_dim), seed);
  p.key_norm = normal_floats(static_cast<std::size_t>(head_dim), seed + 1);
  const RopeConfig config{.rotary_dims = (head_dim + 2) / 4 * 2, .positions = 4096};
  p.rope = std::make_shared<const RopeTable>(Rope::half, config);
  p.config.rope = *p.rope;
}

/// The rows of the three projections in one matrix, in an order.
struct Fused {
  std::vector<float> weight, bias;
  std::int64_t rows = 0;

  void add(const Projection& p, std::int64_t begin, std::int64_t count) {
    weight.insert(weight.end(), p.weight.begin() + begin * p.in,
                  p.weight.begin() + (begin + count) * p.in);
    if (!p.bias.empty()) {
      bias.insert(bias.end(), p.bias.begin() + begin, p.bias.begin() + begin + count);
    }
    rows += count;
  }
};

inline Fused fuse(const LayerProblem& p, FusedRows order) {
  const MultiHeadAttentionConfig& c = p.config;
  const std::int64_t blocks = order == FusedRows::by_kv_head ? c.num_kv_heads : 1;
  Fused fused;
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (const Projection* part : {&p.query, &p.key, &p.value}) {
      fused.add(*part, b * (part->out / blocks), part->out / blocks);
    }
  }
  return fused;
}

/// [batch * tokens, in] -> [batch * tokens, out] by the scalar statement.
inline std::vector<float> reference_projection(const Projection& p, const std::vector<float>& x) {
  const std::int64_t rows = static_cast<std::int64_t>(x.size()) / p.in;
  std::vector<float> y(static_cast<std::size_t>(rows * p.out));
  reference::linear({x.data(), {rows, p.in}}, p.matrix(), p.bias, {y.data(), {rows, p.out}});
  return y;
}

/// The layer by the scalar statement. x [batch, tokens, model_dim], context [batch, kv_tokens,
/// kv_model_dim], dense.
inline std::vector<float> reference_layer(const LayerProblem& p, const std::vector<float>& x,
                                          const std::vector<float>& context, std::int64_t batch,
                                          AttentionOptions options = {}) {
  const MultiHeadAttentionConfig& c = p.config;
  const std::int64_t tokens = static_cast<std::int64_t>(x.size()) / (batch * c.model_dim);
  const std::int64_t keys = static_cast<std::int64_t>(context.size()) / (batch * c.kv_model_dim);
  const std::vector<float> q = reference_projection(p.query, x);
  const std::vector<float> k = reference_projection(p.key, context);
  const std::vector<float> v = reference_projection(p.value, context);
  std::vector<float> z(static_cast<std::size_t>(batch * tokens * c.num_heads * c.value_dim));
  if (!options.softmax_scale) options.softmax_scale = c.softmax_scale;
  if (c.qk_norm_epsilon) options.qk_norm = QkNorm{p.query_norm, p.key_norm, *c.qk_norm_epsilon};
  if (p.rope != nullptr) options.rope.table = *p.rope;
  using Input = TensorView<const float, 4>;
  reference::attention(
      Input(q.data(), {batch, tokens, c.num_heads, c.head_dim}).swapped(1, 2),
      Input(k.data(), {batch, keys, c.num_kv_heads, c.head_dim}).swapped(1, 2),
      Input(v.data(), {batch, keys, c.num_kv_heads, c.value_dim}).swapped(1, 2),
      TensorView<float, 4>(z.data(), {batch, tokens, c.num_heads, c.value_dim}).swapped(1, 2),
      options);
  return p.output.out == 0 ? z : reference_projection(p.output, z);
}

inline std::vector<float> nans(std::int64_t count) {
  return std::vector<float>(static_cast<std::size_t>(count), kNaN);
}

inline std::vector<float> tokens_of(std::uint64_t seed, std::int64_t count) {
  return normal_floats(static_cast<std::size_t>(count), seed);
}

/// The layer of a problem over dense tensors.
inline std::vector<float> run_layer(const LayerProblem& p, const std::vector<float>& x,
                                    const std::vector<float>& context, std::int64_t batch,
                                    const AttentionOptions& options = {}) {
  const MultiHeadAttentionConfig& c = p.config;
  const std::int64_t tokens = static_cast<std::int64_t>(x.size()) / (batch * c.model_dim);
  const std::int64_t keys = static_cast<std::int64_t>(context.size()) / (batch * c.kv_model_dim);
  std::vector<float> y = nans(batch * tokens * p.output_features());
  p.layer().forward({x.data(), {batch, tokens, c.model_dim}},
                    {context.data(), {batch, keys, c.kv_model_dim}},
                    {y.data(), {batch, tokens, p.output_features()}}, options);
  return y;
}

inline std::vector<float> run_self(const LayerProblem& p, const std::vector<float>& x,
                                   std::int64_t batch, const AttentionOptions& options = {}) {
  return run_layer(p, x, x, batch, options);
}

/// Self-attention of a size; output_dim = model_dim.
inline MultiHeadAttentionConfig config_of(std::int64_t model_dim, std::int64_t heads,
                                          std::int64_t kv_heads, std::int64_t head_dim,
                                          std::int64_t value_dim) {
  return {.model_dim = model_dim,
          .num_heads = heads,
          .num_kv_heads = kv_heads,
          .head_dim = head_dim,
          .value_dim = value_dim,
          .kv_model_dim = model_dim,
          .output_dim = model_dim};
}

}  // namespace rapt::test
