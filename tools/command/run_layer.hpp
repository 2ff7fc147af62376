// `rapt run --weights`: the attention layer of a real model on a given input.
#pragma once

#include "rapt/multi_head_attention.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace rapt::tools {

struct LayerOptions {
  std::string weights;                 ///< a .safetensors file
  std::string prefix;                  ///< where the layer's names begin
  std::string input;                   ///< a .npy file
  std::string output;                  ///< a .npy file to write, or "" for none
  std::optional<std::int64_t> heads;   ///< unset: from config.json next to the weights
  std::optional<FusedRows> qkv_order;  ///< unset: the name or config.json says it
  std::optional<double> scale;         ///< unset: config.json says it, or 1 / sqrt(head_dim)
  std::optional<std::int64_t> repeat;
  bool causal = false;
  bool json = false;
};

/// Reads, runs, writes the output file and prints the report, which names what the file and
/// config.json say of the layer and was not used. Throws UsageError for heads that are not known or
/// do not divide the projections and for an order of rows that nothing says, and Error for files
/// that do not serve.
void run_layer(const LayerOptions& options);

}  // namespace rapt::tools
