// A layer's projections found in a .safetensors file by the names that models give them.
#pragma once

#include "rapt/multi_head_attention.hpp"
#include "rapt/weights_file.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace rapt::tools {

/// What was found under a prefix.
struct LayerWeights {
  std::string naming;  ///< the query projection's name, or the packed one's
  /// The weights, once the heads are known: one matrix may hold them head by head.
  std::function<MultiHeadAttentionWeights(const MultiHeadAttentionConfig&)> weights_for;
  std::int64_t model_dim = 0;  ///< features of an input token
  std::int64_t query_dim = 0;  ///< rows of the query projection: heads * head_dim
  std::int64_t kv_dim = 0;     ///< rows of the key projection: kv heads * head_dim
  std::int64_t value_dim = 0;  ///< rows of the value projection
  std::int64_t output_dim = 0;
};

/// Looks under `prefix` ("" for none) for, in turn, the names of BERT, ViT, Llama, OPT and
/// DistilBERT, then those of one matrix for all three: PyTorch's nn.MultiheadAttention, Phi-3,
/// GPT-2 and MPT, with rows of the query, the key, the value, in this order, and GPT-NeoX, BLOOM,
/// Falcon and InternLM2, by kv head. Biases are used where they are. Throws Error{invalid_argument}
/// listing every name that was looked for when none is there, or naming the tensor that is missing
/// or has a wrong shape.
LayerWeights find_layer(const SafetensorsFile& file, const std::string& path,
                        const std::string& prefix);

/// The path of the config.json beside the file at `path`, whether or not it is there.
std::string config_beside(const std::string& path);

/// "num_attention_heads" of the config.json that lies beside the file `path`; 0 when there is no
/// such file or it does not say.
std::int64_t heads_of_config(const std::string& path);

}  // namespace rapt::tools
