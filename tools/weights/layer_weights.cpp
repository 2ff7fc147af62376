// The names that model families give their projections, tried in turn.
#include "weights/layer_weights.hpp"

#include "rapt/error.hpp"
#include "text/lists.hpp"
#include "text/printable.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>
#include <vector>

namespace rapt::tools {
namespace {

/// The projections' names in a model family; each takes ".weight" and ".bias".
struct Naming {
  std::string_view query, key, value, output;
};

constexpr std::array<Naming, 9> kNamings = {{
    {"attention.self.query", "attention.self.key", "attention.self.value",
     "attention.output.dense"},                                // BERT, RoBERTa, MiniLM
    {"self.query", "self.key", "self.value", "output.dense"},  // the same, inside
    {"attention.attention.query", "attention.attention.key", "attention.attention.value",
     "attention.output.dense"},  // ViT
    {"attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj",
     "attn.attention.out_proj"},                                                         // GPT-Neo
    {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"},    // Llama
    {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"},  // OPT
    {"q_proj", "k_proj", "v_proj", "o_proj"},
    {"q_proj", "k_proj", "v_proj", "out_proj"},
    {"attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"},  // DistilBERT
}};

/// The name of one matrix with all three projections in a model family.
struct FusedNaming {
  std::string_view weight, bias, output;
  std::optional<FusedRows> rows;  ///< the order of its rows, if all families with this name agree
};

constexpr std::array<FusedNaming, 10> kFused = {{
    {"in_proj_weight", "in_proj_bias", "out_proj",
     FusedRows::q_k_v},  // PyTorch's nn.MultiheadAttention,
    {"self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj",
     FusedRows::q_k_v},  // and inside a TransformerEncoderLayer
    {"self_attn.qkv_proj.weight", "self_attn.qkv_proj.bias", "self_attn.o_proj",
     FusedRows::q_k_v},                                                         // Phi-3
    {"attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj", {}},              // GPT-2, GPTBigCode
    {"attn.Wqkv.weight", "attn.Wqkv.bias", "attn.out_proj", FusedRows::q_k_v},  // MPT, DBRX
    {"attention.query_key_value.weight",
     "attention.query_key_value.bias",
     "attention.dense",
     {}},  // GPT-NeoX, GLM
    {"self_attention.query_key_value.weight",
     "self_attention.query_key_value.bias",
     "self_attention.dense",
     {}},  // BLOOM, Falcon, ChatGLM2
    {"self_attn.query_key_value.weight",
     "self_attn.query_key_value.bias",
     "self_attn.dense",
     {}},                                                                  // Persimmon
    {"attention.wqkv.weight", "attention.wqkv.bias", "attention.wo", {}},  // InternLM2
    {"attn.qkv_proj.weight", "attn.qkv_proj.bias", "attn.out_proj", {}},   // OpenELM, CodeGen
}};

Projection read_named(LayerTensors& tensors, const std::string& name, bool transposed = false) {
  return tensors.projection(name + ".weight", name + ".bias", transposed);
}

std::string_view without_weight(std::string_view name) {
  constexpr std::string_view kWeight = ".weight";
  if (name.ends_with(kWeight)) name.remove_suffix(kWeight.size());
  return name;
}

std::string folder_of(std::string_view name) {
  const std::string_view stem = without_weight(name);
  return std::string(stem.substr(0, stem.rfind('.') + 1));
}

LayerWeights read_separate(LayerTensors& tensors, const std::string& at, const Naming& naming) {
  const auto name = [&](std::string_view part) { return at + std::string(part); };
  const Projection query = read_named(tensors, name(naming.query));
  const Projection key = read_named(tensors, name(naming.key));
  const Projection value = read_named(tensors, name(naming.value));
  const Projection output = read_named(tensors, name(naming.output));
  LayerWeights layer;
  layer.naming = name(naming.query) + ".weight";
  layer.folder = folder_of(layer.naming);
  layer.weights_for = [weights = MultiHeadAttentionWeights{query.linear(), key.linear(),
                                                           value.linear(), output.linear()}](
                          const MultiHeadAttentionConfig&, FusedRows) { return weights; };
  layer.model_dim = query.columns;
  layer.query_dim = query.rows;
  layer.kv_dim = key.rows;
  layer.value_dim = value.rows;
  layer.output_dim = output.rows;
  return layer;
}

/// Whether both matrices are stored as [in, out], as in GPT-2's layer "Conv1D", and not as [out,
/// in]: the input of one has the extent of the other's output, and there are more rows than those
/// of a query. Throws Error{invalid_argument} if neither order fits.
bool is_transposed(const LayerTensors& tensors, const std::string& fused,
                   const std::string& output) {
  const std::vector<std::int64_t>&a = tensors.at(fused).shape, &b = tensors.at(output).shape;
  if (a.size() == 2 && b.size() == 2) {
    if (a[1] == b[0] && a[0] > b[1]) return false;
    if (a[0] == b[1] && a[1] > b[0]) return true;
  }
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{}: its shape {} does not fit the {} of {}", printable(fused),
                          format_shape(a), format_shape(b), printable(output)));
}

/// Assumes heads of one size for keys and values: the output has as many input features as the
/// query has rows, and the key and the value share the remaining rows.
LayerWeights read_fused(LayerTensors& tensors, const std::string& at, const FusedNaming& naming) {
  const std::string name = at + std::string(naming.weight);
  const std::string output_name = at + std::string(naming.output);
  const bool may_be_transposed = naming.weight == "attn.c_attn.weight";
  const bool transposed =
      may_be_transposed && is_transposed(tensors, name, output_name + ".weight");
  Projection fused = tensors.projection(name, at + std::string(naming.bias), transposed);
  const Projection output = read_named(tensors, output_name, transposed);
  const std::int64_t query = output.columns, others = fused.rows - query;
  if (others < 2 || others % 2 != 0) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: its {} rows are not the {} of a query and two projections of one "
                            "size",
                            printable(name), fused.rows, query));
  }
  LayerWeights layer;
  layer.naming = name;
  layer.folder = folder_of(name);
  // All families with this name that store it transposed agree with GPT-2.
  layer.fused = {naming.weight, name, transposed ? FusedRows::q_k_v : naming.rows};
  layer.model_dim = fused.columns;
  layer.query_dim = query;
  layer.kv_dim = layer.value_dim = others / 2;
  layer.output_dim = output.rows;
  layer.weights_for = [fused = std::move(fused), joined = output.linear()](
                          const MultiHeadAttentionConfig& config, FusedRows rows) {
    return MultiHeadAttentionWeights::from_fused(config, rows, fused.view(), fused.bias, joined);
  };
  return layer;
}

/// Throws if the layer exists with packed weights, as named by GPTQ, AWQ and similar formats.
void refuse_packed(const LayerTensors& tensors, const std::string& at) {
  const auto refuse = [&](std::string_view projection) {
    for (const char* const end : {".qweight", ".weight_packed"}) {
      const std::string name = at + std::string(projection) + end;
      if (const FileTensor* const packed = tensors.find(name); packed != nullptr) {
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("{}: packed weights, here of {}, are not supported: a weight is "
                                "F64, F32, F16 or BF16, or I8 with a scale",
                                printable(name), packed->type_word));
      }
    }
  };
  for (const Naming& naming : kNamings) refuse(naming.query);
  for (const FusedNaming& naming : kFused) refuse(without_weight(naming.weight));
}

}  // namespace

std::string with_dot(const std::string& prefix) {
  return prefix.empty() || prefix.back() == '.' ? prefix : prefix + ".";
}

LayerWeights find_layer(LayerTensors& tensors, const std::string& path, const std::string& prefix) {
  const std::string at = with_dot(prefix);
  std::vector<std::string> looked_for;
  // The output's name distinguishes families that share the other three names.
  for (const Naming& naming : kNamings) {
    const std::string query = at + std::string(naming.query) + ".weight";
    const std::string output = at + std::string(naming.output) + ".weight";
    if (tensors.find(query) != nullptr && tensors.find(output) != nullptr) {
      return read_separate(tensors, at, naming);
    }
    looked_for.push_back(printable(query) + " with " + std::string(naming.output));
  }
  for (const FusedNaming& naming : kFused) {
    const std::string name = at + std::string(naming.weight);
    if (tensors.find(name) != nullptr) return read_fused(tensors, at, naming);
    looked_for.push_back(printable(name));
  }
  refuse_packed(tensors, at);
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{}: no attention layer under the prefix \"{}\"; looked for {}",
                          printable(path), printable(prefix), joined(looked_for)));
}

}  // namespace rapt::tools
