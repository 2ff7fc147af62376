#include "layer/layer_config.hpp"

#include "core/views.hpp"
#include "ops/rms_norm.hpp"
#include "ops/validate_rope.hpp"

#include <string>

namespace rapt {
namespace {

using core::check_extent;
using core::fail;

void check_positive(const char* field, std::int64_t value) {
  if (value < 1)
    fail(std::string("config.") + field + ": " + std::to_string(value) + " is below 1");
}

void fill(std::int64_t& field, std::int64_t value) {
  if (field == 0) field = value;
}

/// The number of features of `count` concatenated heads.
std::int64_t joined(const char* field, std::int64_t count, std::int64_t width) {
  std::int64_t features = 0;
  if (__builtin_mul_overflow(count, width, &features)) {
    fail(std::string("config.") + field + ": " + std::to_string(count) + " heads of " +
         std::to_string(width) + " are more features than can be counted");
  }
  return features;
}

void check_projection(const char* name, const Linear& projection, const char* in_name,
                      std::int64_t in, const char* out_name, std::int64_t out) {
  const std::string argument = std::string("weights.") + name;
  if (is_empty(projection)) fail(argument + ": the projection is empty");
  check_extent((argument + ": in_features").c_str(), projection.in_features(), in_name, in);
  check_extent((argument + ": out_features").c_str(), projection.out_features(), out_name, out);
}

void check_norm(const char* name, const MultiHeadAttentionConfig& config,
                const std::vector<float>& weight) {
  const std::string argument = std::string("weights.") + name;
  if (!weight.empty() && !config.qk_norm_epsilon) {
    fail(argument + ": given, and config.qk_norm_epsilon is not");
  }
  check_norm_weight(argument.c_str(), weight, "head_dim", config.head_dim);
}

}  // namespace

ProjectedFeatures projected_features(const MultiHeadAttentionConfig& c) {
  return {.query = joined("head_dim", c.num_heads, c.head_dim),
          .key = joined("head_dim", c.num_kv_heads, c.head_dim),
          .value = joined("value_dim", c.num_kv_heads, c.value_dim),
          .joined = joined("value_dim", c.num_heads, c.value_dim)};
}

MultiHeadAttentionConfig with_defaults(MultiHeadAttentionConfig config, bool has_output) {
  check_positive("model_dim", config.model_dim);
  check_positive("num_heads", config.num_heads);
  fill(config.num_kv_heads, config.num_heads);
  check_positive("num_kv_heads", config.num_kv_heads);
  if (config.num_heads % config.num_kv_heads != 0) {
    fail("config.num_kv_heads: " + std::to_string(config.num_kv_heads) +
         " does not divide num_heads " + std::to_string(config.num_heads));
  }
  if (config.head_dim == 0 && config.model_dim % config.num_heads != 0) {
    fail("config.head_dim: not given, and model_dim " + std::to_string(config.model_dim) +
         " is not a multiple of num_heads " + std::to_string(config.num_heads));
  }
  fill(config.head_dim, config.model_dim / config.num_heads);
  check_positive("head_dim", config.head_dim);
  fill(config.value_dim, config.head_dim);
  check_positive("value_dim", config.value_dim);
  fill(config.kv_model_dim, config.model_dim);
  check_positive("kv_model_dim", config.kv_model_dim);
  const std::int64_t joined_values = projected_features(config).joined;
  fill(config.output_dim, has_output ? config.model_dim : joined_values);
  check_positive("output_dim", config.output_dim);
  if (!has_output) {
    check_extent("config.output_dim: without an output projection", config.output_dim,
                 "num_heads * value_dim", joined_values);
  }
  if (config.qk_norm_epsilon) check_epsilon("config.qk_norm_epsilon", *config.qk_norm_epsilon);
  check_rope_table("config.rope", config.rope, config.head_dim);
  return config;
}

void check_self_attention(const MultiHeadAttentionConfig& config) {
  if (config.kv_model_dim == config.model_dim) return;
  fail("context: the layer's kv_model_dim " + std::to_string(config.kv_model_dim) +
       " does not match model_dim " + std::to_string(config.model_dim) +
       ", which self-attention needs");
}

void check_weights(const MultiHeadAttentionConfig& c, const MultiHeadAttentionWeights& weights) {
  const ProjectedFeatures features = projected_features(c);
  check_projection("query", weights.query, "model_dim", c.model_dim, "num_heads * head_dim",
                   features.query);
  check_projection("key", weights.key, "kv_model_dim", c.kv_model_dim, "num_kv_heads * head_dim",
                   features.key);
  check_projection("value", weights.value, "kv_model_dim", c.kv_model_dim,
                   "num_kv_heads * value_dim", features.value);
  check_norm("query_norm", c, weights.query_norm);
  check_norm("key_norm", c, weights.key_norm);
  if (is_empty(weights.output)) return;
  check_projection("output", weights.output, "num_heads * value_dim", features.joined, "output_dim",
                   c.output_dim);
}

}  // namespace rapt
