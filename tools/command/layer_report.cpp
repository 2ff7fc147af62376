// The report of `rapt run --weights`, as text and as JSON.
#include "command/layer_report.hpp"

#include "core/counted.hpp"
#include "measure/machine.hpp"
#include "rapt/isa.hpp"
#include "rapt/version.hpp"
#include "text/columns.hpp"
#include "text/hash.hpp"
#include "text/json.hpp"
#include "text/lists.hpp"
#include "text/printable.hpp"
#include "text/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace rapt::tools {
namespace {

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

float scale_of(const LayerRun& run) {
  return run.scores.scale.value_or(1.0f / std::sqrt(static_cast<float>(run.config.head_dim)));
}

/// "scale 0.125 by 1/sqrt(head_dim), soft cap 50, window of 4096 keys, sinks, QK-norm".
std::string scores_text(const LayerRun& run) {
  const LayerScores& scores = run.scores;
  std::string text = fmt::format("scale {:.6g} by {}", scale_of(run), scores.scale_source);
  if (scores.soft_cap) text += fmt::format(", soft cap {:.6g}", *scores.soft_cap);
  if (scores.window) text += ", window of " + core::counted(*scores.window, "key");
  if (!scores.sinks.empty()) text += ", a sink for each head";
  if (scores.qk_norm_epsilon) {
    text += fmt::format(", QK-norm with epsilon {:.6g}", *scores.qk_norm_epsilon);
  }
  return text;
}

std::string unread_text(const UnreadTensors& unread, std::size_t prefix_size) {
  constexpr std::size_t kMaxOfName = 80;
  std::string text = core::counted(unread.count, "tensor") + " under the prefix:";
  for (const std::string& name : unread.names) {
    text += " " + shortened(printable(name.substr(prefix_size)), kMaxOfName);
  }
  return text + (unread.count > unread.names.size() ? " ..." : "");
}

}  // namespace

std::string layer_report(const LayerOptions& options, const LayerRun& run) {
  const Summary summary = summarize(run.output);
  std::string first;
  for (const float value : first_values(run.output)) first += fmt::format(" {:.6f}", value);
  std::string text = fmt::format("Rapt {} with {} on {}\n\n", version(), isa_name(active_isa()),
                                 sentence(describe_machine()));
  text += fmt::format("Weights   {}: {}, ...\n", printable(options.weights),
                      printable(run.layer.naming));
  if (run.order) {
    text += fmt::format("          rows {}, by {}\n", order_name(run.order->rows),
                        printable(run.order->source));
  }
  text += fmt::format("Layer     model_dim {}, {} of {}, {}, output_dim {}{}\n",
                      run.config.model_dim, core::counted(run.config.num_heads, "head"),
                      run.config.head_dim, core::counted(run.config.num_kv_heads, "key/value head"),
                      run.config.output_dim, options.causal ? ", causal" : "");
  text += fmt::format("Scores    {}\n", scores_text(run));
  text += "          Attention alone: no position embedding, normalisation or residual.\n";
  for (const std::string& what : run.not_used) {
    text += fmt::format("Not used  config.json: {}\n", printable(what));
  }
  if (run.unread.count > 0) {
    text += fmt::format("Not used  {}\n", unread_text(run.unread, with_dot(options.prefix).size()));
  }
  text += fmt::format("Input     {} {}\n", printable(options.input), format_shape(run.input_shape));
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

std::string layer_json(const LayerOptions& options, const LayerRun& run) {
  const Summary summary = summarize(run.output);
  Json json = {{"machine", to_json(describe_machine())},
               {"version", version()},
               {"isa", isa_name(active_isa())},
               {"weights", options.weights},
               {"prefix", options.prefix},
               {"naming", run.layer.naming},
               {"input", options.input},
               {"input_shape", run.input_shape},
               {"output_shape", run.output_shape},
               {"model_dim", run.config.model_dim},
               {"heads", run.config.num_heads},
               {"kv_heads", run.config.num_kv_heads},
               {"head_dim", run.config.head_dim},
               {"causal", options.causal},
               {"qkv_order", nullptr},
               {"scale", scale_of(run)},
               {"scale_source", run.scores.scale_source},
               {"soft_cap", run.scores.soft_cap},
               {"window", run.scores.window},
               {"sinks", !run.scores.sinks.empty()},
               {"qk_norm_epsilon", run.scores.qk_norm_epsilon},
               {"not_used", run.not_used},
               {"unread_tensors", run.unread.names},
               {"unread_count", run.unread.count},
               {"first", first_values(run.output)},
               {"mean", summary.mean},
               {"deviation", summary.deviation},
               {"min", summary.least},
               {"max", summary.largest},
               {"median_us", run.time.median * 1e6},
               {"min_us", run.time.least * 1e6},
               {"repeats", run.time.repeats},
               {"hash", hash_of(run.output)}};
  if (run.order) {
    json["qkv_order"] = order_name(run.order->rows);
    json["qkv_order_source"] = run.order->source;
  }
  return json.text();
}

}  // namespace rapt::tools
