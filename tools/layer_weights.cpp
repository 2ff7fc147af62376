// The names that families of models give their projections, tried in turn.
#include "layer_weights.hpp"

#include "command.hpp"
#include "rapt/error.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>
#include <vector>

namespace rapt::tools {
namespace {

/// How a family of models names its projections; each name takes ".weight" and ".bias".
struct Naming {
  std::string_view query, key, value, output;
};

constexpr std::array<Naming, 8> kNamings = {{
    {"attention.self.query", "attention.self.key", "attention.self.value",
     "attention.output.dense"},                                // BERT, RoBERTa, MiniLM
    {"self.query", "self.key", "self.value", "output.dense"},  // the same, inside
    {"attention.attention.query", "attention.attention.key", "attention.attention.value",
     "attention.output.dense"},                                                          // ViT
    {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"},    // Llama
    {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"},  // OPT
    {"q_proj", "k_proj", "v_proj", "o_proj"},
    {"q_proj", "k_proj", "v_proj", "out_proj"},
    {"attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"},  // DistilBERT
}};

/// How a family names one matrix of all three projections, and orders its rows.
struct FusedNaming {
  std::string_view weight, bias, output;
  FusedRows rows = FusedRows::q_k_v;
  bool transposed = false;  ///< this matrix and the output's are stored as [in, out]
};

constexpr std::array<FusedNaming, 8> kFused = {{
    {"in_proj_weight", "in_proj_bias", "out_proj"},  // PyTorch's nn.MultiheadAttention,
    {"self_attn.in_proj_weight", "self_attn.in_proj_bias",
     "self_attn.out_proj"},  // and inside a TransformerEncoderLayer
    {"self_attn.qkv_proj.weight", "self_attn.qkv_proj.bias", "self_attn.o_proj"},       // Phi-3
    {"attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj", FusedRows::q_k_v, true},  // GPT-2
    {"attn.Wqkv.weight", "attn.Wqkv.bias", "attn.out_proj"},                            // MPT
    {"attention.query_key_value.weight", "attention.query_key_value.bias", "attention.dense",
     FusedRows::by_kv_head},  // GPT-NeoX
    {"self_attention.query_key_value.weight", "self_attention.query_key_value.bias",
     "self_attention.dense", FusedRows::by_kv_head},  // BLOOM; Falcon, whose one kv head is all
    {"attention.wqkv.weight", "attention.wqkv.bias", "attention.wo",
     FusedRows::by_kv_head},  // InternLM2
}};

/// A weight [out, in] with its bias, read as float.
struct Matrix {
  std::vector<float> weight;
  std::vector<float> bias;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool transposed = false;

  TensorView<const float, 2> view() const {
    using View = TensorView<const float, 2>;
    return transposed ? View(weight.data(), {columns, rows}).swapped(0, 1)
                      : View(weight.data(), {rows, columns});
  }

  Linear linear() const { return Linear(view(), bias); }
};

Matrix read_matrix(const SafetensorsFile& file, const std::string& weight_name,
                   const std::string& bias_name, bool transposed = false) {
  const FileTensor& weight = file.at(weight_name);
  if (weight.shape.size() != 2) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: a matrix {} was expected, its shape is {}", printable(weight_name),
                            transposed ? "[in, out]" : "[out, in]", format_shape(weight.shape)));
  }
  Matrix matrix;
  matrix.transposed = transposed;
  matrix.rows = weight.shape[transposed ? 1 : 0];
  matrix.columns = weight.shape[transposed ? 0 : 1];
  matrix.weight = weight.copy_as_float();
  if (const FileTensor* const bias = file.find(bias_name); bias != nullptr) {
    if (bias->shape != std::vector<std::int64_t>{matrix.rows}) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{}: its shape {} does not match the {} rows of its weight",
                              printable(bias_name), format_shape(bias->shape), matrix.rows));
    }
    matrix.bias = bias->copy_as_float();
  }
  return matrix;
}

Matrix read_named(const SafetensorsFile& file, const std::string& name, bool transposed = false) {
  return read_matrix(file, name + ".weight", name + ".bias", transposed);
}

LayerWeights read_separate(const SafetensorsFile& file, const std::string& at,
                           const Naming& naming) {
  const auto name = [&](std::string_view part) { return at + std::string(part); };
  const Matrix query = read_named(file, name(naming.query));
  const Matrix key = read_named(file, name(naming.key));
  const Matrix value = read_named(file, name(naming.value));
  const Matrix output = read_named(file, name(naming.output));
  LayerWeights layer;
  layer.naming = name(naming.query) + ".weight";
  layer.weights_for = [weights = MultiHeadAttentionWeights{query.linear(), key.linear(),
                                                           value.linear(), output.linear()}](
                          const MultiHeadAttentionConfig&) { return weights; };
  layer.model_dim = query.columns;
  layer.query_dim = query.rows;
  layer.kv_dim = key.rows;
  layer.value_dim = value.rows;
  layer.output_dim = output.rows;
  return layer;
}

/// Heads of one size for keys and values are assumed: the output reads as many features as the
/// query has rows, and the key and the value share the others.
LayerWeights read_fused(const SafetensorsFile& file, const std::string& at,
                        const FusedNaming& naming) {
  const std::string name = at + std::string(naming.weight);
  Matrix fused = read_matrix(file, name, at + std::string(naming.bias), naming.transposed);
  const Matrix output = read_named(file, at + std::string(naming.output), naming.transposed);
  const std::int64_t query = output.columns, others = fused.rows - query;
  if (others < 2 || others % 2 != 0) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: its {} rows are not the {} of a query and two projections of one "
                            "size",
                            printable(name), fused.rows, query));
  }
  LayerWeights layer;
  layer.naming = name;
  layer.model_dim = fused.columns;
  layer.query_dim = query;
  layer.kv_dim = layer.value_dim = others / 2;
  layer.output_dim = output.rows;
  layer.weights_for = [fused = std::move(fused), joined = output.linear(),
                       rows = naming.rows](const MultiHeadAttentionConfig& config) {
    return MultiHeadAttentionWeights::from_fused(config, rows, fused.view(), fused.bias, joined);
  };
  return layer;
}

}  // namespace

LayerWeights find_layer(const SafetensorsFile& file, const std::string& path,
                        const std::string& prefix) {
  const std::string at = prefix.empty() || prefix.back() == '.' ? prefix : prefix + ".";
  std::vector<std::string> looked_for;
  // The output's name tells apart families that share the names of the other three.
  for (const Naming& naming : kNamings) {
    const std::string query = at + std::string(naming.query) + ".weight";
    const std::string output = at + std::string(naming.output) + ".weight";
    if (file.find(query) != nullptr && file.find(output) != nullptr) {
      return read_separate(file, at, naming);
    }
    looked_for.push_back(printable(query) + " with " + std::string(naming.output));
  }
  for (const FusedNaming& naming : kFused) {
    const std::string name = at + std::string(naming.weight);
    if (file.find(name) != nullptr) return read_fused(file, at, naming);
    looked_for.push_back(printable(name));
  }
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{}: no attention layer under the prefix \"{}\"; looked for {}",
                          printable(path), printable(prefix), joined(looked_for)));
}

std::string config_beside(const std::string& path) {
  return (std::filesystem::path(path).parent_path() / "config.json").string();
}

std::int64_t heads_of_config(const std::string& path) {
  std::ifstream file(config_beside(path));
  if (!file) return 0;
  constexpr std::streamsize kMostBytes = 1 << 20;
  std::string text(kMostBytes, '\0');
  file.read(text.data(), kMostBytes);
  text.resize(static_cast<std::size_t>(file.gcount()));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  const auto field = json.is_object() ? json.find("num_attention_heads") : json.end();
  if (field == json.end() || !field->is_number_integer()) return 0;
  return field->get<std::int64_t>();
}

}  // namespace rapt::tools
