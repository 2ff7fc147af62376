// Score options of a layer from the file and config.json: scale, soft cap, window, sinks, QK-norm;
// and the unsupported ones.
#pragma once

#include "weights/layer_weights.hpp"
#include "weights/model_config.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rapt::tools {

struct LayerScores {
  std::optional<float> scale;  ///< unset: 1 / sqrt(head_dim)
  std::string scale_source;    ///< "1/sqrt(head_dim)", "--scale", a field of config.json
  std::optional<float> soft_cap;
  std::optional<std::int64_t> window;  ///< latest keys that a token sees, its own included
  std::vector<float> sinks;            ///< one per head, or empty
  std::optional<float> qk_norm_epsilon;
  std::vector<float> query_norm, key_norm;

  /// Settings of config.json that affect attention but are not supported, as readable text.
  std::vector<std::string> not_used;
};

/// Score options from the command line.
struct ScoreFlags {
  std::optional<double> scale;
  bool causal = false;
  std::string prefix;
};

/// Reads the required tensors from `tensors`, with the sizes `sizes`. Throws UsageError if two
/// fields give different scales, and Error{malformed_file} for fields of a wrong type.
LayerScores layer_scores(LayerTensors& tensors, const LayerWeights& layer,
                         const ModelConfig& config, const MultiHeadAttentionConfig& sizes,
                         const ScoreFlags& flags);

}  // namespace rapt::tools
