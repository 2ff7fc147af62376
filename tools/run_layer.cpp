// Finds the layer and its sizes, runs it, and sums up what came out.
#include "run_layer.hpp"

#include "article.hpp"
#include "command.hpp"
#include "core/counted.hpp"
#include "layer_weights.hpp"
#include "machine.hpp"
#include "rapt/error.hpp"
#include "rapt/version.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace rapt::tools {
namespace {

/// The input with its shape as it lies in the file.
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
  input.values = file.tensor().copy_as_float();
  return input;
}

MultiHeadAttentionConfig configure(const LayerWeights& layer, const LayerOptions& options) {
  const std::int64_t heads = options.heads.value_or(heads_of_config(options.weights));
  if (heads < 1) {
    throw UsageError(
        "--heads: needed with --weights, as neither the file nor a config.json beside "
        "it tells the number of heads");
  }
  if (layer.query_dim % heads != 0) {
    throw UsageError(fmt::format("--heads: {} does not divide the {} rows of the query projection",
                                 heads, layer.query_dim));
  }
  const std::int64_t head_dim = layer.query_dim / heads;
  const std::int64_t kv_heads = layer.kv_dim / head_dim;
  if (kv_heads < 1 || layer.kv_dim % head_dim != 0 || heads % kv_heads != 0 ||
      layer.value_dim % kv_heads != 0) {
    throw UsageError(fmt::format(
        "--heads: {} gives heads of {} elements, which do not fit the {} rows of the key "
        "projection and the {} of the value projection",
        heads, head_dim, layer.kv_dim, layer.value_dim));
  }
  return {.model_dim = layer.model_dim,
          .num_heads = heads,
          .num_kv_heads = kv_heads,
          .head_dim = head_dim,
          .value_dim = layer.value_dim / kv_heads,
          .output_dim = layer.output_dim};
}

struct Summary {
  double mean = 0;
  double deviation = 0;
  float least = 0;
  float largest = 0;
};

Summary summarize(const std::vector<float>& values) {
  Summary summary;
  if (values.empty()) return summary;
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  summary.mean = sum / static_cast<double>(values.size());
  double squares = 0;
  for (const float value : values) {
    const double off = static_cast<double>(value) - summary.mean;
    squares += off * off;
  }
  summary.deviation = std::sqrt(squares / static_cast<double>(values.size()));
  const auto [least, largest] = std::minmax_element(values.begin(), values.end());
  summary.least = *least;
  summary.largest = *largest;
  return summary;
}

std::vector<float> first_values(const std::vector<float>& values) {
  return {values.begin(),
          values.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(values.size(), 8))};
}

struct LayerRun {
  LayerWeights layer;
  MultiHeadAttentionConfig config;
  Input input;
  std::vector<float> output;
  std::vector<std::int64_t> output_shape;
  PassTime time;
};

LayerRun compute(const LayerOptions& options) {
  LayerRun run;
  const SafetensorsFile file(options.weights);
  run.layer = find_layer(file, options.weights, options.prefix);
  const MultiHeadAttentionConfig config = configure(run.layer, options);
  const MultiHeadAttention attend(config, run.layer.weights_for(config));
  run.config = attend.config();
  run.input = read_input(options.input, run.layer.model_dim);
  run.output_shape = run.input.shape;
  run.output_shape.back() = run.layer.output_dim;
  const std::int64_t batch = run.input.batch();
  const std::int64_t tokens = run.input.tokens();
  run.output.resize(static_cast<std::size_t>(batch * tokens * run.layer.output_dim));
  const TensorView<const float, 3> x(run.input.values.data(), {batch, tokens, run.layer.model_dim});
  const TensorView<float, 3> y(run.output.data(), {batch, tokens, run.layer.output_dim});
  AttentionOptions attention_options;
  if (options.causal) attention_options.mask = causal();
  run.time = time_passes([&] { attend.forward(x, y, attention_options); }, options.repeat);
  return run;
}

std::string report(const LayerOptions& options, const LayerRun& run) {
  const Summary summary = summarize(run.output);
  std::string first;
  for (const float value : first_values(run.output)) first += fmt::format(" {:.6f}", value);
  std::string text = fmt::format("Rapt {} with {} on {}\n\n", version(), isa_name(active_isa()),
                                 sentence(describe_machine()));
  text += fmt::format("Weights   {}: {}, ...\n", printable(options.weights),
                      printable(run.layer.naming));
  text += fmt::format("Layer     model_dim {}, {} of {}, {}, output_dim {}{}\n",
                      run.config.model_dim, core::counted(run.config.num_heads, "head"),
                      run.config.head_dim, core::counted(run.config.num_kv_heads, "key/value head"),
                      run.config.output_dim, options.causal ? ", causal" : "");
  text += "          Attention alone: no position embedding, normalisation or residual.\n";
  text += fmt::format("Input     {} {}\n", printable(options.input), format_shape(run.input.shape));
  text += fmt::format("Output    {}{}\n", format_shape(run.output_shape),
                      options.output.empty() ? "" : " -> " + printable(options.output));
  text += fmt::format("          first{}\n", first);
  text += fmt::format("          mean {:.6g}, deviation {:.6g}, least {:.6g}, largest {:.6g}\n",
                      summary.mean, summary.deviation, summary.least, summary.largest);
  text += fmt::format("          hash {}\n", hash_of(run.output));
  text += fmt::format("Time      {} per forward pass (median of {}; least {})\n",
                      format_seconds(run.time.median), run.time.repeats,
                      format_seconds(run.time.least));
  return text;
}

std::string report_json(const LayerOptions& options, const LayerRun& run) {
  const Summary summary = summarize(run.output);
  const nlohmann::json json = {{"machine", to_json(describe_machine())},
                               {"version", version()},
                               {"isa", isa_name(active_isa())},
                               {"weights", options.weights},
                               {"prefix", options.prefix},
                               {"naming", run.layer.naming},
                               {"input", options.input},
                               {"input_shape", run.input.shape},
                               {"output_shape", run.output_shape},
                               {"model_dim", run.config.model_dim},
                               {"heads", run.config.num_heads},
                               {"kv_heads", run.config.num_kv_heads},
                               {"head_dim", run.config.head_dim},
                               {"causal", options.causal},
                               {"first", first_values(run.output)},
                               {"mean", summary.mean},
                               {"deviation", summary.deviation},
                               {"min", summary.least},
                               {"max", summary.largest},
                               {"median_us", run.time.median * 1e6},
                               {"min_us", run.time.least * 1e6},
                               {"repeats", run.time.repeats},
                               {"hash", hash_of(run.output)}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

void run_layer(const LayerOptions& options) {
  const LayerRun run = compute(options);
  const std::string text = options.json ? report_json(options, run) : report(options, run);
  if (!options.output.empty()) write_npy(options.output, run.output.data(), run.output_shape);
  print_out(text);
}

}  // namespace rapt::tools
