// Finds a layer's projections in a .safetensors file by the names that models give them.
#pragma once

#include "rapt/multi_head_attention.hpp"
#include "weights/layer_tensors.hpp"
#include "weights/qkv_order.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace rapt::tools {

/// The projections found under a prefix.
struct LayerWeights {
  std::string naming;  ///< the query projection's name, or the packed one's
  std::string folder;  ///< the common prefix of that name and its siblings: "layers.0.self_attn."
  /// The weights, once the heads are known: one matrix may store them head by head, in the order
  /// `rows`.
  std::function<MultiHeadAttentionWeights(const MultiHeadAttentionConfig&, FusedRows rows)>
      weights_for;
  std::optional<FusedMatrixName> fused;  ///< if one matrix holds all three
  std::int64_t model_dim = 0;            ///< features of an input token
  std::int64_t query_dim = 0;            ///< rows of the query projection: heads * head_dim
  std::int64_t kv_dim = 0;               ///< rows of the key projection: kv heads * head_dim
  std::int64_t value_dim = 0;            ///< rows of the value projection
  std::int64_t output_dim = 0;
};

/// Looks under `prefix` ("" for none) for, in turn, the names of BERT, ViT, GPT-Neo, Llama, OPT and
/// DistilBERT, then those of one matrix for all three: PyTorch's nn.MultiheadAttention, Phi-3,
/// GPT-2 and GPTBigCode, MPT, GPT-NeoX, BLOOM and Falcon and ChatGLM2, Persimmon, InternLM2,
/// OpenELM. Biases are used if present. Throws Error{invalid_argument} listing all tried names if
/// none is found, or naming a tensor that is missing or has a wrong shape or type.
LayerWeights find_layer(LayerTensors& tensors, const std::string& path, const std::string& prefix);

/// `prefix` followed by a dot, or "".
std::string with_dot(const std::string& prefix);

}  // namespace rapt::tools
