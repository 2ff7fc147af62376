// The sizes of a layer in a file.
#pragma once

#include "weights/layer_weights.hpp"
#include "weights/model_config.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rapt::tools {

/// The heads are those of the flag, otherwise those of `config`, which must then agree with its
/// other fields. Throws UsageError if neither has them, if they do not divide the projections, or
/// if `config` contradicts the file.
MultiHeadAttentionConfig layer_sizes(const LayerWeights& layer, const ModelConfig& config,
                                     std::optional<std::int64_t> heads_flag,
                                     const std::string& prefix);

/// Drops a config.json whose model width differs from the layer's, and notes that in `not_used`.
void forget_another_model(ModelConfig& config, const LayerWeights& layer,
                          std::vector<std::string>& not_used);

}  // namespace rapt::tools
