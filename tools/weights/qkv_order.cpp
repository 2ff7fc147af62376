// The row order by family: families that share tensor names order their rows differently.
#include "weights/qkv_order.hpp"

#include "rapt/error.hpp"
#include "text/printable.hpp"
#include "text/usage_error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace rapt::tools {
namespace {

constexpr std::string_view kAttention = "attention.query_key_value.weight";
constexpr std::string_view kSelfAttention = "self_attention.query_key_value.weight";
constexpr std::string_view kSelfAttn = "self_attn.query_key_value.weight";
constexpr std::string_view kWqkv = "attention.wqkv.weight";
constexpr std::string_view kCAttn = "attn.c_attn.weight";
constexpr std::string_view kQkvProj = "attn.qkv_proj.weight";

/// The rows of a family with a given name: one order; or `rows` if its field is true, the other
/// order if false.
struct FamilyRule {
  std::string_view family, weight;
  FusedRows rows;
  std::string_view field = {};
  bool field_default = false;  ///< if config.json lacks the field
};

constexpr FusedRows kAll = FusedRows::q_k_v, kByHead = FusedRows::by_kv_head;

/// Sources: the modeling_*.py of these families, in transformers or next to their checkpoints.
constexpr std::array<FamilyRule, 19> kRules = {{
    {"gptneox", kAttention, kByHead},
    {"gptneoxjapanese", kAttention, kByHead},
    {"glm", kAttention, kAll},  // GLM-10B
    {"bloom", kSelfAttention, kByHead},
    // Falcon: by head, for one kv head, or by kv head; these differ only in the number of kv heads.
    {"falcon", kSelfAttention, kByHead},
    {"refinedweb", kSelfAttention, kByHead},
    {"refinedwebmodel", kSelfAttention, kByHead},
    {"rw", kSelfAttention, kByHead},
    {"chatglm", kSelfAttention, kAll, "multi_query_attention", false},  // ChatGLM2 to GLM-4
    {"persimmon", kSelfAttn, kByHead},
    {"fuyu", kSelfAttn, kByHead},
    {"phi3small", kSelfAttn, kByHead},
    {"internlm2", kWqkv, kByHead},
    {"internlmxcomposer2", kWqkv, kByHead},
    {"gptbigcode", kCAttn, kAll, "multi_query", true},
    {"qwen", kCAttn, kAll},
    {"gpt2", kCAttn, kAll},
    {"jais", kCAttn, kAll},
    {"openelm", kQkvProj, kAll},
}};

/// Families with another order.
constexpr std::array<std::string_view, 2> kNeither = {"codegen", "moss"};

std::optional<QkvOrder> order_of_family(std::string_view weight, const ModelConfig& config) {
  const std::string family = config.family();
  const auto rule = std::find_if(kRules.begin(), kRules.end(), [&](const FamilyRule& each) {
    return each.family == family && each.weight == weight;
  });
  if (rule == kRules.end()) return std::nullopt;
  std::string source = "config.json: " + family;
  if (rule->field.empty()) return QkvOrder{rule->rows, source};
  const bool field = config.flag(rule->field).value_or(rule->field_default);
  source += fmt::format(", {} {}", rule->field, field);
  return QkvOrder{field ? rule->rows : (rule->rows == kAll ? kByHead : kAll), source};
}

}  // namespace

std::string_view order_name(FusedRows rows) { return rows == kAll ? "q_k_v" : "by_kv_head"; }

QkvOrder qkv_order(const FusedMatrixName& name, const ModelConfig& config,
                   std::optional<FusedRows> flag, std::int64_t kv_heads) {
  if (flag) return {*flag, "--qkv-order"};
  if (name.rows) return {*name.rows, "the name"};
  if (const auto order = order_of_family(name.weight, config)) return *order;
  const std::string family = config.family();
  if (std::find(kNeither.begin(), kNeither.end(), family) != kNeither.end()) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: {}, as config.json says, has its rows neither as [all q | all k | "
                            "all v] nor by kv head, and no other order is supported",
                            printable(name.full), family));
  }
  if (kv_heads == 1) return {kAll, "one key/value head"};
  throw UsageError(fmt::format(
      "--qkv-order: needed, as {} is a name of families that order its rows as [all q | all k | "
      "all "
      "v] (q_k_v) and of others that have, for each kv head, its heads of q, then k, then v "
      "(by_kv_head), and {} says which",
      printable(name.full),
      !config.exists() ? "no config.json beside the file"
      : family.empty()
          ? "the config.json beside the file names no model_type that"
          : "model_type " + family + " of the config.json beside the file is none that"));
}

}  // namespace rapt::tools
