// Each rule is that of the model families that have the field or tensor; anything without a rule is
// reported.
#include "weights/layer_scores.hpp"

#include "rapt/error.hpp"
#include "text/lists.hpp"
#include "text/usage_error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

namespace rapt::tools {
namespace {

/// The inputs of a rule, and its results.
struct Reading {
  LayerTensors& tensors;
  const LayerWeights& layer;
  const ModelConfig& config;
  const MultiHeadAttentionConfig& sizes;
  const ScoreFlags& flags;
  LayerScores scores{};

  void leave_out(std::string_view field, const std::string& why) {
    if (!config.has(field)) return;
    scores.not_used.push_back(config.shown(field) + (why.empty() ? "" : ": " + why));
  }
};

/// A scale and the name of its source.
using NamedScale = std::pair<double, std::string>;

std::vector<NamedScale> scales_of_model(const Reading& at) {
  const ModelConfig& config = at.config;
  std::vector<NamedScale> scales;
  const bool neo = at.layer.naming.ends_with("attn.attention.q_proj.weight");
  const std::string family = config.family();
  if (neo || family == "gptneo") scales.emplace_back(1.0, "GPT-Neo");
  if (family == "gemma3ntext") scales.emplace_back(1.0, "Gemma 3n");
  if (const auto scalar = config.number("query_pre_attn_scalar")) {
    scales.emplace_back(1.0 / std::sqrt(*scalar), "1/sqrt(query_pre_attn_scalar)");
  }
  for (const char* const field : {"attention_multiplier", "attn_config.softmax_scale"}) {
    if (const auto scale = config.number(field)) scales.emplace_back(*scale, field);
  }
  if (config.flag("scale_attn_weights") == false) scales.emplace_back(1.0, "scale_attn_weights");
  for (const char* const field : {"scale_qk_dot_by_d", "mup_scale_qk_dot_by_d"}) {
    if (config.flag(field) == true) {
      scales.emplace_back(1.0 / static_cast<double>(at.sizes.head_dim), field);
    }
  }
  return scales;
}

void read_scale(Reading& at) {
  LayerScores& scores = at.scores;
  if (at.flags.scale) {
    scores.scale = static_cast<float>(*at.flags.scale);
    scores.scale_source = "--scale";
    return;
  }
  const std::vector<NamedScale> scales = scales_of_model(at);
  constexpr const char* kUsual = "1/sqrt(head_dim)";
  NamedScale chosen(1.0 / std::sqrt(static_cast<double>(at.sizes.head_dim)), kUsual);
  if (!scales.empty()) chosen = scales.front();
  for (const NamedScale& other : scales) {
    if (other.first != chosen.first) {
      throw UsageError(fmt::format("--scale: needed, as config.json says {} by {} and {} by {}",
                                   chosen.first, chosen.second, other.first, other.second));
    }
  }
  constexpr const char* kByLayer = "scale_attn_by_inverse_layer_idx";
  if (at.config.flag(kByLayer) == true) {
    if (const auto number = layer_number(at.flags.prefix)) {
      chosen.first /= static_cast<double>(*number) + 1;
      chosen.second += fmt::format(", {}", kByLayer);
    } else {
      at.leave_out(kByLayer, "the prefix names no layer by number");
    }
  }
  if (!(std::fabs(chosen.first) <= double{std::numeric_limits<float>::max()})) {
    throw UsageError(
        fmt::format("--scale: needed, as that of config.json, by {}, is no number", chosen.second));
  }
  scores.scale_source = chosen.second;
  // If it equals the layer's default, it is left unset: the bits are then those of a run without
  // it.
  if (chosen.second != kUsual) scores.scale = static_cast<float>(chosen.first);
}

void read_soft_cap(Reading& at) {
  constexpr const char* kField = "attn_logit_softcapping";
  const auto cap = at.config.number(kField);
  if (!cap) return;
  if (const auto narrow = static_cast<float>(*cap); narrow > 0) {
    at.scores.soft_cap = narrow;
  } else {
    at.leave_out(kField, "a cap is above 0");
  }
}

/// The entry for this layer in a list with one word per layer; "" if there is none.
std::string word_of_layer(const Reading& at, std::string_view field) {
  const auto number = layer_number(at.flags.prefix);
  return number ? at.config.word_at(field, *number) : "";
}

/// Whether the layer has the window of `field`; unset if no field says so.
std::optional<bool> has_window(const Reading& at, std::string_view field) {
  constexpr std::array<std::string_view, 4> kInEveryLayer = {"mistral", "mixtral", "phi3",
                                                             "starcoder2"};
  if (field == "window_size") {  // GPT-Neo
    const std::string word = word_of_layer(at, "attention_layers");
    if (word == "local" || word == "global") return word == "local";
    return std::nullopt;
  }
  if (at.config.flag("use_sliding_window") == false) return false;
  const std::string word = word_of_layer(at, "layer_types");
  if (word == "sliding_attention" || word == "full_attention") return word == "sliding_attention";
  const bool everywhere =
      !at.config.has("layer_types") && std::find(kInEveryLayer.begin(), kInEveryLayer.end(),
                                                 at.config.family()) != kInEveryLayer.end();
  return everywhere ? std::optional(true) : std::nullopt;
}

void read_window(Reading& at) {
  const std::string family = at.config.family();
  const std::string_view field = family == "gptneo" ? "window_size" : "sliding_window";
  if (!at.config.has(field)) return;
  const std::optional<bool> has = has_window(at, field);
  if (has == false) return;
  const std::optional<std::int64_t> keys = at.config.size(field);
  if (!keys) {
    at.leave_out(field, "it is no number of keys");
  } else if (!has) {
    at.leave_out(field, "nothing says whether this layer has it");
  } else if (!at.flags.causal) {
    at.leave_out(field, "it needs --causal");
  } else {
    at.scores.window = keys;
  }
}

void read_sinks(Reading& at) {
  const std::string name = at.layer.folder + "sinks";
  const FileTensor* const sinks = at.tensors.find(name);
  if (sinks == nullptr || sinks->shape != std::vector<std::int64_t>{at.sizes.num_heads}) return;
  at.scores.sinks = at.tensors.floats(name);
}

/// Families whose q_norm and k_norm are an RMS norm of each head, and what they add to its weight.
struct NormRule {
  std::string_view family;
  float added;
};

constexpr std::array<NormRule, 10> kNormRules = {{{"qwen3", 0},
                                                  {"qwen3moe", 0},
                                                  {"qwen3vltext", 0},
                                                  {"qwen3vlmoetext", 0},
                                                  {"exaone4", 0},
                                                  {"dots1", 0},
                                                  {"glm4moe", 0},
                                                  {"apertus", 0},
                                                  {"gemma3", 1},
                                                  {"gemma3text", 1}}};

/// The reason why QK-norm cannot be used; "" if it is used.
std::string read_qk_norm(Reading& at, const std::string& q, const std::string& k) {
  const std::vector<std::int64_t> per_head = {at.sizes.head_dim};
  for (const std::string& name : {q, k}) {
    const FileTensor* const norm = at.tensors.find(name + ".weight");
    if (norm == nullptr) return "one of q_norm and k_norm is missing";
    if (at.tensors.find(name + ".bias") != nullptr) return "it is a layer norm with a bias";
    if (norm->shape != per_head) {
      return fmt::format("of shape {}, where one weight for each of the {} of a head is supported",
                         format_shape(norm->shape), at.sizes.head_dim);
    }
  }
  const std::string family = at.config.family();
  const auto rule = std::find_if(kNormRules.begin(), kNormRules.end(),
                                 [&](const NormRule& each) { return each.family == family; });
  if (rule == kNormRules.end()) return "no model_type of config.json says which norm it is";
  const auto epsilon = at.config.number("rms_norm_eps");
  if (!epsilon || *epsilon < 0) return "config.json has no rms_norm_eps for it";
  LayerScores& scores = at.scores;
  scores.qk_norm_epsilon = static_cast<float>(*epsilon);
  scores.query_norm = at.tensors.floats(q + ".weight");
  scores.key_norm = at.tensors.floats(k + ".weight");
  for (std::vector<float>* const weights : {&scores.query_norm, &scores.key_norm}) {
    for (float& weight : *weights) weight += rule->added;
  }
  return "";
}

void read_norms(Reading& at) {
  const std::string q = at.layer.folder + "q_norm", k = at.layer.folder + "k_norm";
  if (at.tensors.find(q + ".weight") == nullptr && at.tensors.find(k + ".weight") == nullptr) {
    for (const char* const field : {"use_qk_norm", "qk_layernorm", "attn_config.qk_ln"}) {
      if (at.config.flag(field) == true) at.leave_out(field, "");
    }
    return;
  }
  if (const std::string why = read_qk_norm(at, q, k); !why.empty()) {
    at.scores.not_used.push_back("QK-norm: " + why);
  }
}

/// Fields that change attention in ways that the run does not support, if enabled.
void name_the_rest(Reading& at) {
  for (const char* const field :
       {"alibi", "attn_config.alibi", "clip_qkv", "attn_config.clip_qkv", "attention_chunk_size",
        "attn_temperature_tuning", "attention_in_multiplier", "attention_out_multiplier",
        "key_multiplier", "attn_output_multiplier", "mup_attn_multiplier", "relative_attention",
        "relative_attention_num_buckets", "local_attention", "attention_window"}) {
    if (at.config.is_on(field)) at.leave_out(field, "");
  }
  const std::string family = at.config.family();
  if (family == "bloom") at.scores.not_used.emplace_back("ALiBi, as BLOOM has it");
  if (family == "gemma3ntext") {
    at.scores.not_used.emplace_back("a norm of v without weights, as Gemma 3n has it");
  }
  const auto position = at.config.word("position_embedding_type");
  if (position && *position != "absolute") at.leave_out("position_embedding_type", "");
}

}  // namespace

LayerScores layer_scores(LayerTensors& tensors, const LayerWeights& layer,
                         const ModelConfig& config, const MultiHeadAttentionConfig& sizes,
                         const ScoreFlags& flags) {
  Reading reading{tensors, layer, config, sizes, flags};
  read_scale(reading);
  read_soft_cap(reading);
  read_window(reading);
  read_sinks(reading);
  read_norms(reading);
  name_the_rest(reading);
  return std::move(reading.scores);
}

}  // namespace rapt::tools
