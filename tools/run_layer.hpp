// `rapt run --weights`: the attention layer of a real model on a given input.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace rapt::tools {

struct LayerOptions {
  std::string weights;                ///< a .safetensors file
  std::string prefix;                 ///< where the layer's names begin
  std::string input;                  ///< a .npy file
  std::string output;                 ///< a .npy file to write, or "" for none
  std::optional<std::int64_t> heads;  ///< unset: config.json beside the weights says it
  std::optional<std::int64_t> repeat;
  bool causal = false;
  bool json = false;
};

/// Reads, runs, writes the output file and prints the report. Throws UsageError for heads that are
/// not known or do not divide the projections, and Error for files that do not serve.
void run_layer(const LayerOptions& options);

}  // namespace rapt::tools
