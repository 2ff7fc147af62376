// The heads from the flag or config.json, the rest from the shapes of the projections.
#include "weights/layer_sizes.hpp"

#include "core/counted.hpp"
#include "rapt/error.hpp"
#include "text/usage_error.hpp"

#include <fmt/format.h>

namespace rapt::tools {
namespace {

std::int64_t heads_of(const ModelConfig& config, std::optional<std::int64_t> heads_flag,
                      const std::string& prefix) {
  if (heads_flag) return *heads_flag;
  std::optional<std::int64_t> heads;
  for (const std::string part : {"decoder", "encoder"}) {
    if (!heads && prefix.find(part) != std::string::npos) {
      heads = config.count({part + "_attention_heads"});
    }
  }
  if (!heads) heads = config.count({"num_attention_heads", "n_head", "n_heads", "num_heads"});
  if (!heads) {
    throw UsageError(
        "--heads: needed with --weights, as neither the file nor a config.json beside "
        "it tells the number of heads");
  }
  return *heads;
}

/// Heads in config.json must agree with its other fields: it may describe another layer.
void check_heads(const ModelConfig& config, const MultiHeadAttentionConfig& sizes) {
  std::optional<std::int64_t> kv_heads =
      config.count({"num_key_value_heads", "n_kv_heads", "n_head_kv", "attn_config.kv_n_heads"});
  if (config.flag("multi_query_attention") == true) {
    kv_heads = config.count({"multi_query_group_num"});
  } else if (config.flag("new_decoder_architecture") == true) {
    kv_heads = config.count({"num_kv_heads", "n_head_kv"});
  }
  const std::optional<std::int64_t> head_dim = config.count({"head_dim"});
  if (kv_heads.value_or(sizes.num_kv_heads) == sizes.num_kv_heads &&
      head_dim.value_or(sizes.head_dim) == sizes.head_dim) {
    return;
  }
  throw UsageError(fmt::format(
      "--heads: needed, as config.json tells {}{}, while its {} in the file's projections make {} "
      "of {}",
      kv_heads ? core::counted(*kv_heads, "key/value head") : "heads",
      head_dim ? fmt::format(" of {}", *head_dim) : "", core::counted(sizes.num_heads, "head"),
      core::counted(sizes.num_kv_heads, "key/value head"), sizes.head_dim));
}

}  // namespace

MultiHeadAttentionConfig layer_sizes(const LayerWeights& layer, const ModelConfig& config,
                                     std::optional<std::int64_t> heads_flag,
                                     const std::string& prefix) {
  const std::int64_t heads = heads_of(config, heads_flag, prefix);
  if (layer.query_dim % heads != 0 || layer.query_dim < heads) {
    throw UsageError(fmt::format("--heads: {} does not divide the {} rows of the query projection",
                                 heads, layer.query_dim));
  }
  const std::int64_t head_dim = layer.query_dim / heads;
  const std::int64_t kv_heads = layer.kv_dim / head_dim;
  if (kv_heads < 1 || layer.kv_dim % head_dim != 0 || heads % kv_heads != 0 ||
      layer.value_dim % kv_heads != 0) {
    throw UsageError(fmt::format(
        "--heads: {} gives heads of {} elements, which do not fit the {} rows of the key "
        "projection and the {} of the value projection",
        heads, head_dim, layer.kv_dim, layer.value_dim));
  }
  const MultiHeadAttentionConfig sizes{.model_dim = layer.model_dim,
                                       .num_heads = heads,
                                       .num_kv_heads = kv_heads,
                                       .head_dim = head_dim,
                                       .value_dim = layer.value_dim / kv_heads,
                                       .output_dim = layer.output_dim};
  if (!heads_flag) check_heads(config, sizes);
  return sizes;
}

void forget_another_model(ModelConfig& config, const LayerWeights& layer,
                          std::vector<std::string>& not_used) {
  std::string width;
  for (const char* const field : {"hidden_size", "n_embd", "n_embed", "d_model", "dim"}) {
    if (config.says(field, layer.model_dim)) return;
    if (config.has(field)) width = config.shown(field);
  }
  if (width.empty()) return;
  not_used.push_back(
      fmt::format("all of it, as its {} is not the layer's {}", width, layer.model_dim));
  config.forget();
}

}  // namespace rapt::tools
