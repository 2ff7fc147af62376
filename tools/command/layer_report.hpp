// The report of `rapt run --weights`.
#pragma once

#include "command/run_layer.hpp"
#include "demo/article.hpp"
#include "measure/pass_time.hpp"
#include "weights/layer_scores.hpp"
#include "weights/layer_weights.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rapt::tools {

/// A layer that was run, and how.
struct LayerRun {
  LayerWeights layer;
  MultiHeadAttentionConfig config;
  LayerScores scores;
  std::optional<QkvOrder> order;      ///< of the rows, if one matrix holds all projections
  std::vector<std::string> not_used;  ///< of config.json
  UnreadTensors unread;               ///< tensors under the prefix that were not used
  std::vector<std::int64_t> input_shape;
  std::vector<float> output;
  std::vector<std::int64_t> output_shape;
  PassTime time;
};

std::string layer_report(const LayerOptions& options, const LayerRun& run);

std::string layer_json(const LayerOptions& options, const LayerRun& run);

}  // namespace rapt::tools
