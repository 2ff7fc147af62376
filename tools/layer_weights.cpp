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

/// PyTorch's nn.MultiheadAttention, inside itself and inside a TransformerEncoderLayer.
constexpr std::array<std::string_view, 2> kPacked = {"", "self_attn."};

/// A weight [out, in] with its bias, read as float.
struct Matrix {
  std::vector<float> weight;
  std::vector<float> bias;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  /// The rows [begin, begin + count) as a layer of their own.
  Linear linear(std::int64_t begin, std::int64_t count) const {
    const TensorView<const float, 2> whole(weight.data(), {rows, columns});
    const std::span<const float> biases =
        bias.empty() ? std::span<const float>()
                     : std::span<const float>(bias).subspan(static_cast<std::size_t>(begin),
                                                            static_cast<std::size_t>(count));
    return Linear(whole.sliced(0, begin, count), biases);
  }

  Linear linear() const { return linear(0, rows); }
};

Matrix read_matrix(const SafetensorsFile& file, const std::string& weight_name,
                   const std::string& bias_name) {
  const FileTensor& weight = file.at(weight_name);
  if (weight.shape.size() != 2) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: a matrix [out, in] was expected, its shape is {}",
                            printable(weight_name), format_shape(weight.shape)));
  }
  Matrix matrix;
  matrix.rows = weight.shape[0];
  matrix.columns = weight.shape[1];
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

Matrix read_named(const SafetensorsFile& file, const std::string& name) {
  return read_matrix(file, name + ".weight", name + ".bias");
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

LayerWeights read_packed(const SafetensorsFile& file, const std::string& at) {
  const Matrix packed = read_matrix(file, at + "in_proj_weight", at + "in_proj_bias");
  const Matrix output = read_named(file, at + "out_proj");
  if (packed.rows % 3 != 0) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}in_proj_weight: {} rows are not three projections of one size",
                            printable(at), packed.rows));
  }
  const std::int64_t rows = packed.rows / 3;
  LayerWeights layer;
  layer.naming = at + "in_proj_weight";
  layer.weights = {packed.linear(0, rows), packed.linear(rows, rows), packed.linear(2 * rows, rows),
                   output.linear()};
  layer.model_dim = packed.columns;
  layer.query_dim = layer.kv_dim = layer.value_dim = rows;
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
  for (const std::string_view inside : kPacked) {
    const std::string name = at + std::string(inside);
    if (file.find(name + "in_proj_weight") != nullptr) return read_packed(file, name);
    looked_for.push_back(printable(name) + "in_proj_weight");
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
