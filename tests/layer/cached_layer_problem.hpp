// A layer with a model's options and a stream of tokens that passes through a cache in chunks.
#pragma once

#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace rapt::test {

/// 8 heads on 2 kv heads, biases, QK-norm, RoPE.
inline LayerProblem cached_problem(std::uint64_t seed, LayerSwitches switches = {}) {
  LayerProblem p = make_layer(seed, config_of(40, 8, 2, 16, 20), switches);
  add_norm_and_rope(p, seed + 50);
  return p;
}

/// The same layer with its projections in one matrix.
inline MultiHeadAttention fused_layer(const LayerProblem& p, FusedRows order) {
  const Fused fused = fuse(p, order);
  MultiHeadAttentionWeights weights = MultiHeadAttentionWeights::from_fused(
      p.config, order, {fused.weight.data(), {fused.rows, p.config.model_dim}}, fused.bias,
      p.output.packed());
  weights.query_norm = p.query_norm;
  weights.key_norm = p.key_norm;
  return {p.config, weights};
}

inline KvCacheConfig cache_of(const MultiHeadAttentionConfig& c) {
  return {.kv_heads = c.num_kv_heads,
          .head_dim = c.head_dim,
          .value_dim = c.value_dim,
          .page_tokens = 64};
}

/// Tokens [tokens, model_dim] and the layer's results.
struct LayerStream {
  LayerStream(const LayerProblem& p, std::int64_t tokens_, std::uint64_t seed)
      : in(p.config.model_dim),
        out(p.output_features()),
        tokens(tokens_),
        x(tokens_of(seed, tokens_ * in)),
        y(nans(tokens_ * out)) {}

  TensorView<const float, 2> rows(std::int64_t first, std::int64_t count) const {
    return {x.data() + first * in, {count, in}};
  }
  TensorView<float, 2> results(std::int64_t first, std::int64_t count) {
    return {y.data() + first * out, {count, out}};
  }

  std::int64_t in, out, tokens;
  std::vector<float> x, y;
};

/// Passes the tokens [first, last) through the cache in chunks.
inline void feed(const MultiHeadAttention& layer, KvCache& cache, std::int64_t sequence,
                 LayerStream& stream, std::int64_t first, std::int64_t last, std::int64_t chunk,
                 const AttentionOptions& options) {
  for (; first < last; first += chunk) {
    const std::int64_t count = std::min(chunk, last - first);
    const std::int64_t rows[] = {0, count};
    layer.forward(stream.rows(first, count), cache, {.sequences = {&sequence, 1}, .rows = rows},
                  stream.results(first, count), options);
  }
}

}  // namespace rapt::test
