// `rapt run`: the article's sentence by default, a real layer with --weights.
#include "command/commands.hpp"
#include "command/flag_values.hpp"
#include "command/isa_flag.hpp"
#include "command/output_file.hpp"
#include "command/run_layer.hpp"
#include "demo/article.hpp"
#include "demo/heat_map.hpp"
#include "demo/tokenize.hpp"
#include "formats/write_file.hpp"
#include "measure/isas.hpp"
#include "text/output.hpp"
#include "text/printable.hpp"
#include "text/usage_error.hpp"
#include "weights/model_config.hpp"
#include "weights/qkv_order.hpp"

#include <CLI/CLI.hpp>

#include <memory>
#include <vector>

namespace rapt::tools {
namespace {

struct RunFlags {
  ArticleOptions article;
  LayerOptions layer;
  std::int64_t heads = 4;
  std::int64_t repeat = 0;
  std::string qkv_order;
  double scale = 0;
  bool causal = false;
  std::string isa = "active";
  std::string svg;
  bool json = false;
};

void draw_svg(const std::string& path, const ArticleOptions& options, const ArticleResult& result) {
  const auto tokens = static_cast<std::int64_t>(result.tokens.words.size());
  const TensorView<const float, 3> weights(result.weights.data(), {options.heads, tokens, tokens});
  io::write_file(
      path, {svg_heat_maps("Attention weights: “" + printable(options.text) + "”",
                           "Each row is a word that looks (query), each column a word it looks at "
                           "(key).",
                           result.tokens.words, weights)});
}

void run_text(const RunFlags& flags) {
  if (!flags.svg.empty() && tokenize(flags.article.text).words.size() > kMaxDrawn) {
    throw UsageError("--svg: the text has more than " + std::to_string(kMaxDrawn) +
                     " words, too many to draw");
  }
  check_output("--svg", flags.svg, {});
  const ArticleResult result = run_article(flags.article);
  const std::string report = flags.json
                                 ? article_json(flags.article, result)
                                 : article_report(flags.article, result, terminal_has_colour());
  if (!flags.svg.empty()) draw_svg(flags.svg, flags.article, result);
  print_out(report);
}

FusedRows order_of_flag(const std::string& word) {
  for (const FusedRows rows : {FusedRows::q_k_v, FusedRows::by_kv_head}) {
    if (word == order_name(rows)) return rows;
  }
  throw UsageError("--qkv-order: " + printable(word) + " is neither q_k_v nor by_kv_head");
}

void run(const CLI::App& command, RunFlags& flags) {
  const std::vector<Isa> isas = chosen_isas("--isa", flags.isa);
  if (isas.size() != 1) throw UsageError("--isa: one at a time; `rapt compare` runs all of them");
  const ForcedIsa forced(isas.front());
  std::optional<std::int64_t> repeat;
  if (command.count("--repeat") > 0) repeat = flags.repeat;
  if (command.count("--weights") == 0) {
    flags.article.heads = flags.heads;
    flags.article.causal = flags.causal;
    flags.article.repeat = repeat;
    run_text(flags);
    return;
  }
  if (command.count("--heads") > 0) flags.layer.heads = flags.heads;
  if (command.count("--scale") > 0) flags.layer.scale = flags.scale;
  if (command.count("--qkv-order") > 0) flags.layer.qkv_order = order_of_flag(flags.qkv_order);
  flags.layer.causal = flags.causal;
  flags.layer.repeat = repeat;
  flags.layer.json = flags.json;
  check_output("--output", flags.layer.output,
               {{"--input", flags.layer.input},
                {"--weights", flags.layer.weights},
                {"the config.json beside --weights", config_next_to(flags.layer.weights)}});
  run_layer(flags.layer);
}

void add_text_options(CLI::App& command, RunFlags& flags) {
  ArticleOptions& article = flags.article;
  command.add_option("--text", article.text, "the sentence");
  command.add_option("--dim", article.dim, "elements of an embedding")
      ->transform(WholeNumber(1, 8192));
  command.add_option("--batch", article.batch, "how often the sentence stands in the batch")
      ->transform(WholeNumber(1, std::int64_t{1} << 20));
  command.add_option("--seed", article.seed, "seed of the generated weights")
      ->transform(WholeNumber(0, std::int64_t{1} << 62));
  command.add_option("--svg", flags.svg, "also draw the heat maps into this file")
      ->default_str("none")
      ->check(FileName());
}

void add_layer_options(CLI::App& command, RunFlags& flags) {
  LayerOptions& layer = flags.layer;
  CLI::Option* const weights =
      command.add_option("--weights,--model", layer.weights,
                         "run a layer of this .safetensors file instead of a sentence");
  CLI::Option* const input = command.add_option(
      "--input", layer.input, "its input, .npy, [tokens, dim] or [batch, tokens, dim]");
  weights->default_str("none")->needs(input)->check(FileName());
  input->default_str("none")->needs(weights)->check(FileName());
  command.add_option("--prefix", layer.prefix, "where the layer's names begin in the file")
      ->default_str("none")
      ->needs(weights);
  command
      .add_option(
          "--qkv-order", flags.qkv_order,
          "rows of one matrix for all three projections: q_k_v, all of q, then k, then v; or "
          "by_kv_head, for each kv head its own of q, k and v")
      ->default_str("by name or config.json")
      ->needs(weights);
  command.add_option("--scale", flags.scale, "what the products of q and k are multiplied by")
      ->default_str("by config.json, or 1/sqrt(head_dim)")
      ->needs(weights)
      ->transform(RealNumber(-1e6, 1e6));
  command.add_option("--output", layer.output, "write the layer's output into this .npy file")
      ->default_str("none")
      ->check(FileName())
      ->needs(weights);
  for (const char* const name : {"--text", "--dim", "--batch", "--seed", "--svg"}) {
    weights->excludes(command.get_option(name));
  }
}

}  // namespace

void add_run(CLI::App& app) {
  CLI::App& command = *app.add_subcommand(
      "run", "embedding, multi-head attention and output projection of a sentence, or a layer");
  const auto flags = std::make_shared<RunFlags>();
  add_text_options(command, *flags);
  command
      .add_option("--heads", flags->heads,
                  "heads; with --weights the default is that of the config.json beside the file")
      ->transform(WholeNumber(1, 8192));
  command.add_flag("--causal", flags->causal, "a token sees itself and earlier ones only")
      ->default_str("off");
  add_layer_options(command, *flags);
  command.add_option("--repeat", flags->repeat, "timed samples of the forward pass")
      ->default_str("as many as fit in 0.2 s")
      ->transform(WholeNumber(1, 1000000));
  command.add_option("--isa", flags->isa, isa_flag_help("or active"));
  command.add_flag("--json", flags->json, "print JSON")->default_str("off");
  command.callback([&command, flags] { run(command, *flags); });
}

}  // namespace rapt::tools
