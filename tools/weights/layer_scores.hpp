// What the file and config.json say of a layer's scores besides its projections: the scale, a soft
// cap, a window, sinks, QK-norm; and what of it the run leaves out.
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
  std::vector<float> sinks;            ///< one for each head, or none
  std::optional<float> qk_norm_epsilon;
  std::vector<float> query_norm, key_norm;

  /// What config.json says of the attention and the run does not do, each as a reader would want
  /// it.
  std::vector<std::string> not_used;
};

/// What the command line says of it.
struct ScoreFlags {
  std::optional<double> scale;
  bool causal = false;
  std::string prefix;
};

/// Reads the tensors that are used from `tensors`, by the sizes of `sizes`. Throws UsageError where
/// two fields say different scales, and Error{malformed_file} for fields of a wrong type.
LayerScores layer_scores(LayerTensors& tensors, const LayerWeights& layer,
                         const ModelConfig& config, const MultiHeadAttentionConfig& sizes,
                         const ScoreFlags& flags);

}  // namespace rapt::tools
