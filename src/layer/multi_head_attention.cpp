// The layer: four matrix products around one call of attention(). Heads are views: the projections
// write [tokens, heads * e], and attention reads [heads, tokens, e] from there by strides, without
// a copy.
#include "rapt/multi_head_attention.hpp"

#include "attention/score_callback.hpp"
#include "attention/validate.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "layer/layer_call.hpp"
#include "layer/layer_config.hpp"

#include <array>
#include <cstdint>
#include <utility>

namespace rapt {
namespace {

using core::check_extent;
using core::memory_range;

void check_forward(const MultiHeadAttentionConfig& config, TensorView<const void, 3> x,
                   TensorView<const void, 3> context, TensorView<void, 3> y) {
  core::check_input("x", x);
  core::check_input("context", context);
  check_extent("x: features", x.shape[2], "the layer's model_dim", config.model_dim);
  check_extent("context: features", context.shape[2], "the layer's kv_model_dim",
               config.kv_model_dim);
  check_extent("context: batch", context.shape[0], "x's batch", x.shape[0]);
  check_extent("y: batch", y.shape[0], "x's batch", x.shape[0]);
  check_extent("y: tokens", y.shape[1], "x's tokens", x.shape[1]);
  check_extent("y: features", y.shape[2], "the layer's output_dim", config.output_dim);
  core::check_output("y", y);
}

}  // namespace

MultiHeadAttention::MultiHeadAttention(const MultiHeadAttentionConfig& config,
                                       MultiHeadAttentionWeights weights) try {
  config_ = with_defaults(config, !is_empty(weights.output));
  check_weights(config_, weights);
  weights_ = std::make_shared<const MultiHeadAttentionWeights>(std::move(weights));
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

const MultiHeadAttentionWeights& MultiHeadAttention::weights() const {
  if (weights_ == nullptr)
    throw Error(ErrorCode::invalid_argument, SentenceLiteral("layer: was moved from"));
  return *weights_;
}

void MultiHeadAttention::forward(TensorView<const void, 3> x, TensorView<void, 3> y,
                                 const AttentionOptions& options) const {
  core::or_out_of_memory([&] { check_self_attention(config_); });
  forward(x, x, y, options);
}

void MultiHeadAttention::forward(TensorView<const void, 3> x, TensorView<const void, 3> context,
                                 TensorView<void, 3> y, const AttentionOptions& options) const {
  const MultiHeadAttentionConfig& c = config_;
  const MultiHeadAttentionWeights& weights = this->weights();
  const AttentionOptions all = core::or_out_of_memory([&] {
    check_forward(c, x, context, y);
    refuse_inside_callback();
    const AttentionOptions both = with_configuration(c, weights, options);
    const std::array inputs{NamedMemory{"x", memory_range(x)},
                            NamedMemory{"context", memory_range(context)}};
    validate_apart(NamedMemory{"y", memory_range(y)}, inputs, both);
    return both;
  });
  const bool has_output = !is_empty(weights.output);
  const auto [q, k, v, z] = layer_tensors(c, has_output, x, context, y);
  project(weights.query, x, q);
  project(weights.key, context, k);
  project(weights.value, context, v);
  normalize_keys(c, weights.key_norm, k);
  attention(heads_of(q, c.num_heads, c.head_dim), heads_of(k, c.num_kv_heads, c.head_dim),
            heads_of(v, c.num_kv_heads, c.value_dim), heads_of(z, c.num_heads, c.value_dim), all);
  if (has_output) project(weights.output, z, y);
}

}  // namespace rapt
