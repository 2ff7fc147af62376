// Finds the layer and its configuration, and runs it.
#include "command/run_layer.hpp"

#include "command/layer_report.hpp"
#include "measure/pass_time.hpp"
#include "rapt/error.hpp"
#include "text/lists.hpp"
#include "text/output.hpp"
#include "text/printable.hpp"
#include "text/usage_error.hpp"
#include "weights/layer_scores.hpp"
#include "weights/layer_sizes.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace rapt::tools {
namespace {

/// The input with its shape in the file.
struct Input {
  std::vector<float> values;
  std::vector<std::int64_t> shape;

  std::int64_t batch() const { return shape.size() == 3 ? shape[0] : 1; }
  std::int64_t tokens() const { return shape[shape.size() - 2]; }
};

Input read_input(const std::string& path, std::int64_t model_dim) {
  const NpyFile file(path);
  Input input;
  input.shape = file.tensor().shape;
  const bool ranked = input.shape.size() == 2 || input.shape.size() == 3;
  if (!ranked || input.shape.back() != model_dim) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: its shape {} is neither [tokens, {}] nor [batch, tokens, {}], as "
                            "the layer needs",
                            printable(path), format_shape(input.shape), model_dim, model_dim));
  }
  try {
    input.values = file.tensor().copy_as_float();
  } catch (const Error& error) {
    throw Error(error.code(), printable(path) + ": " + error.what());
  }
  return input;
}

/// Finds the layer, its sizes, the order of its rows, and its score options.
MultiHeadAttention load_layer(const LayerOptions& options, LayerRun& run) {
  const SafetensorsFile file(options.weights);
  LayerTensors tensors(file);
  run.layer = find_layer(tensors, options.weights, options.prefix);
  ModelConfig config = ModelConfig::beside(options.weights, options.prefix);
  forget_another_model(config, run.layer, run.not_used);
  MultiHeadAttentionConfig sizes = layer_sizes(run.layer, config, options.heads, options.prefix);
  if (run.layer.fused) {
    run.order = qkv_order(*run.layer.fused, config, options.qkv_order, sizes.num_kv_heads);
  } else if (options.qkv_order) {
    throw UsageError("--qkv-order: the layer's q, k and v are matrices of their own");
  }
  run.scores = layer_scores(tensors, run.layer, config, sizes,
                            {options.scale, options.causal, options.prefix});
  run.not_used.insert(run.not_used.end(), run.scores.not_used.begin(), run.scores.not_used.end());
  run.unread = tensors.unread(with_dot(options.prefix), run.layer.folder);
  sizes.softmax_scale = run.scores.scale;
  sizes.qk_norm_epsilon = run.scores.qk_norm_epsilon;
  MultiHeadAttentionWeights weights =
      run.layer.weights_for(sizes, run.order.value_or(QkvOrder{}).rows);
  weights.query_norm = run.scores.query_norm;
  weights.key_norm = run.scores.key_norm;
  return MultiHeadAttention(sizes, std::move(weights));
}

AttentionOptions attention_options(const LayerOptions& options, const LayerScores& scores) {
  AttentionOptions all;
  if (options.causal) all.mask = causal();
  if (scores.window) all.mask = all.mask.windowed(*scores.window - 1, 0);
  all.soft_cap = scores.soft_cap;
  all.sinks = scores.sinks;
  return all;
}

LayerRun compute(const LayerOptions& options) {
  LayerRun run;
  const MultiHeadAttention attend = load_layer(options, run);
  run.config = attend.config();
  const Input input = read_input(options.input, run.layer.model_dim);
  run.input_shape = run.output_shape = input.shape;
  run.output_shape.back() = run.layer.output_dim;
  const std::int64_t batch = input.batch(), tokens = input.tokens();
  run.output.resize(static_cast<std::size_t>(batch * tokens * run.layer.output_dim));
  const TensorView<const float, 3> x(input.values.data(), {batch, tokens, run.layer.model_dim});
  const TensorView<float, 3> y(run.output.data(), {batch, tokens, run.layer.output_dim});
  const AttentionOptions with = attention_options(options, run.scores);
  run.time = time_passes([&] { attend.forward(x, y, with); }, options.repeat);
  return run;
}

}  // namespace

void run_layer(const LayerOptions& options) {
  const LayerRun run = compute(options);
  const std::string text = options.json ? layer_json(options, run) : layer_report(options, run);
  if (!options.output.empty()) write_npy(options.output, run.output.data(), run.output_shape);
  print_out(text);
}

}  // namespace rapt::tools
