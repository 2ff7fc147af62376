// The sizes of a layer that was found in a file.
#pragma once

#include "weights/layer_weights.hpp"
#include "weights/model_config.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rapt::tools {

/// The heads are those of the flag, otherwise those of `config`, which must then agree with what
/// else it tells of them. Throws UsageError where nothing tells them, where they do not divide the
/// projections and where `config` contradicts the file.
MultiHeadAttentionConfig layer_sizes(const LayerWeights& layer, const ModelConfig& config,
                                     std::optional<std::int64_t> heads_flag,
                                     const std::string& prefix);

/// Forgets a config.json whose model has another width than the layer, and says so in `not_used`.
void forget_another_model(ModelConfig& config, const LayerWeights& layer,
                          std::vector<std::string>& not_used);

}  // namespace rapt::tools
