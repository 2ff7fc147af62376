// Sizes of the workloads: defaults, presets, and their texts.
#include "measure/workload.hpp"
#include "text/lists.hpp"
#include "text/printable.hpp"
#include "text/usage_error.hpp"

#include <fmt/format.h>

#include <vector>

namespace rapt::tools {

std::string kind_name(WorkKind kind) {
  switch (kind) {
    case WorkKind::attention:
      return "attention";
    case WorkKind::decode:
      return "decode";
    case WorkKind::linear:
      return "linear";
    case WorkKind::mha:
      return "mha";
  }
  return "";
}

WorkKind parse_kind(const std::string& name) {
  for (const WorkKind kind :
       {WorkKind::attention, WorkKind::decode, WorkKind::linear, WorkKind::mha}) {
    if (kind_name(kind) == name) return kind;
  }
  throw UsageError("WORKLOAD: " + printable(name) + " is none of attention, decode, linear, mha");
}

WorkShape default_shape(WorkKind kind) {
  switch (kind) {
    case WorkKind::attention:
      return {};
    case WorkKind::decode:
      return {
          .kind = kind, .heads = 32, .kv_heads = 8, .kv_len = 8192, .head_dim = 128, .cold = true};
    case WorkKind::linear:
      return {.kind = kind};
    case WorkKind::mha:
      return {.kind = kind, .heads = 12};
  }
  return {};
}

WorkShape preset_shape(const std::string& name) {
  static const std::vector<WorkShape> kPresets = {
      {.preset = "P1", .batch = 8, .heads = 12},
      {.preset = "P2", .heads = 32, .q_len = 2048, .head_dim = 128, .causal = true},
      {.preset = "P3", .heads = 32, .kv_heads = 8, .q_len = 4096, .head_dim = 128, .causal = true},
      {.preset = "P4", .batch = 32, .heads = 12, .q_len = 128, .head_dim = 32},
      {.kind = WorkKind::decode,
       .preset = "D1",
       .heads = 32,
       .kv_heads = 8,
       .kv_len = 8192,
       .head_dim = 128,
       .cold = true},
      {.kind = WorkKind::decode,
       .preset = "D2",
       .batch = 16,
       .heads = 32,
       .kv_heads = 8,
       .kv_len = 2048,
       .head_dim = 128,
       .cold = true},
      {.preset = "T1", .heads = 4, .q_len = 5, .head_dim = 4},
      {.kind = WorkKind::linear, .preset = "G1", .rows = 4096},
      {.kind = WorkKind::linear, .preset = "G1b", .in_features = 4096, .out_features = 4096},
      {.kind = WorkKind::linear,
       .preset = "G2",
       .rows = 1,
       .in_features = 4096,
       .out_features = 4096,
       .cold = true},
      {.kind = WorkKind::mha, .preset = "M1", .batch = 8, .heads = 12}};
  std::vector<std::string> names;
  for (const WorkShape& shape : kPresets) {
    if (shape.preset == name) return shape;
    names.push_back(shape.preset);
  }
  throw UsageError("--preset: " + printable(name) + " is none of " + joined(names));
}

WorkShape completed(WorkShape shape) {
  if (shape.kind == WorkKind::decode) shape.q_len = 1;
  if (shape.kv_heads == 0) shape.kv_heads = shape.heads;
  if (shape.kv_len == 0) shape.kv_len = shape.q_len;
  if (shape.kind == WorkKind::mha) shape.head_dim = shape.model_dim / shape.heads;
  if (shape.value_dim == 0) shape.value_dim = shape.head_dim;
  return shape;
}

std::string sentence(const WorkShape& shape) {
  std::string text = kind_name(shape.kind) + ": ";
  switch (shape.kind) {
    case WorkKind::linear:
      text +=
          fmt::format("rows {}, in {}, out {}", shape.rows, shape.in_features, shape.out_features);
      break;
    case WorkKind::mha:
      text += fmt::format("batch {}, tokens {}, model_dim {}, heads {}, kv_heads {}", shape.batch,
                          shape.q_len, shape.model_dim, shape.heads, shape.kv_heads);
      break;
    default:
      text += fmt::format("batch {}, heads {}, kv_heads {}, q_len {}, kv_len {}, head_dim {}",
                          shape.batch, shape.heads, shape.kv_heads, shape.q_len, shape.kv_len,
                          shape.head_dim);
      if (shape.value_dim != shape.head_dim) {
        text += fmt::format(", value_dim {}", shape.value_dim);
      }
  }
  if (shape.causal) text += ", causal";
  if (shape.window_left != kNoWindow) text += fmt::format(", window_left {}", shape.window_left);
  if (shape.soft_cap > 0) text += fmt::format(", soft_cap {}", shape.soft_cap);
  if (shape.alibi) text += ", alibi";
  if (shape.bias) text += ", bias";
  if (shape.mask) text += ", mask";
  if (shape.paged) text += ", paged cache";
  if (shape.dtype != DType::f32) text += fmt::format(", {}", dtype_name(shape.dtype));
  if (shape.kv_dtype) text += fmt::format(", keys and values {}", dtype_name(*shape.kv_dtype));
  if (shape.weights != DType::f32) text += fmt::format(", weights {}", dtype_name(shape.weights));
  if (!shape.preset.empty()) text = shape.preset + ", " + text;
  return text;
}

Json to_json(const WorkShape& shape) {
  if (shape.kind == WorkKind::linear) {
    return {{"rows", shape.rows},
            {"in_features", shape.in_features},
            {"out_features", shape.out_features},
            {"weights", dtype_name(shape.weights)}};
  }
  Json json = {{"batch", shape.batch},         {"heads", shape.heads},
               {"kv_heads", shape.kv_heads},   {"q_len", shape.q_len},
               {"kv_len", shape.kv_len},       {"head_dim", shape.head_dim},
               {"value_dim", shape.value_dim}, {"causal", shape.causal}};
  if (shape.kind == WorkKind::mha) {
    json["model_dim"] = shape.model_dim;
    json["weights"] = dtype_name(shape.weights);
  } else {
    json["kv_dtype"] = dtype_name(shape.kv_dtype.value_or(shape.dtype));
  }
  if (shape.window_left != kNoWindow) json["window_left"] = shape.window_left;
  if (shape.soft_cap > 0) json["soft_cap"] = shape.soft_cap;
  if (shape.alibi) json["alibi"] = true;
  if (shape.bias) json["bias"] = true;
  if (shape.mask) json["mask"] = true;
  if (shape.paged) json["cache"] = "paged";
  return json;
}

}  // namespace rapt::tools
