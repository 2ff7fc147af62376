// `rapt run --weights`: the attention layer of a real model on a given input.
#pragma once

#include "rapt/multi_head_attention.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace rapt::tools {

struct LayerOptions {
  std::string weights;                 ///< a .safetensors file
  std::string prefix;                  ///< prefix of the layer's names
  std::string input;                   ///< a .npy file
  std::string output;                  ///< a .npy file to write, or "" for none
  std::optional<std::int64_t> heads;   ///< unset: from config.json next to the weights
  std::optional<FusedRows> qkv_order;  ///< unset: from the name or config.json
  std::optional<double> scale;         ///< unset: from config.json, or 1 / sqrt(head_dim)
  std::optional<std::int64_t> repeat;
  bool causal = false;
  bool json = false;
};

/// Reads the inputs, runs the layer, writes the output file and prints the report, which lists
/// unused entries of the file and of config.json. Throws UsageError if the heads are unknown or do
/// not divide the projections, or the order of rows is unknown, and Error for unsuitable files.
void run_layer(const LayerOptions& options);

}  // namespace rapt::tools
