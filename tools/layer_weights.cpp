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

/// How a family names one matrix of all heads of the query, then of the key, then of the value.
struct FusedNaming {
  std::string_view weight, bias, output;
  bool transposed;  ///< this matrix and the output's are stored as [in, out]
};

constexpr std::array<FusedNaming, 5> kFused = {{
    {"in_proj_weight", "in_proj_bias", "out_proj", false},  // PyTorch's nn.MultiheadAttention,
    {"self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj",
     false},  // and inside a TransformerEncoderLayer
    {"self_attn.qkv_proj.weight", "self_attn.qkv_proj.bias", "self_attn.o_proj", false},  // Phi-3
    {"attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj", true},                      // GPT-2
    {"attn.Wqkv.weight", "attn.Wqkv.bias", "attn.out_proj", false},                       // MPT
}};

/// A weight [out, in] with its bias, read as float.
struct Matrix {
  std::vector<float> weight;
  std::vector<float> bias;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool transposed = false;

  /// The rows [begin, begin + count) as a layer of their own.
  Linear linear(std::int64_t begin, std::int64_t count) const {
    using View = TensorView<const float, 2>;
    const View whole = transposed ? View(weight.data(), {columns, rows}).swapped(0, 1)
                                  : View(weight.data(), {rows, columns});
    const std::span<const float> biases =
        bias.empty() ? std::span<const float>()
                     : std::span<const float>(bias).subspan(static_cast<std::size_t>(begin),
                                                            static_cast<std::size_t>(count));
    return Linear(whole.sliced(0, begin, count), biases);
  }

  Linear linear() const { return linear(0, rows); }
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
  layer.weights = {query.linear(), key.linear(), value.linear(), output.linear()};
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
  const Matrix fused = read_matrix(file, name, at + std::string(naming.bias), naming.transposed);
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
  layer.weights = {fused.linear(0, query), fused.linear(query, others / 2),
                   fused.linear(query + others / 2, others / 2), output.linear()};
  layer.model_dim = fused.columns;
  layer.query_dim = query;
  layer.kv_dim = layer.value_dim = others / 2;
  layer.output_dim = output.rows;
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

std::int64_t heads_of_config(const std::string& path) {
  const auto config = std::filesystem::path(path).parent_path() / "config.json";
  std::ifstream file(config);
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
