// `rapt run`: the article's sentence by default, a real layer with --weights.
#include "command/commands.hpp"
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

void run(const Command& command, RunFlags& flags) {
  const std::vector<Isa> isas = chosen_isas("--isa", flags.isa);
  if (isas.size() != 1) throw UsageError("--isa: one at a time; `rapt compare` runs all of them");
  const ForcedIsa forced(isas.front());
  std::optional<std::int64_t> repeat;
  if (command.has("--repeat")) repeat = flags.repeat;
  if (!command.has("--weights")) {
    flags.article.heads = flags.heads;
    flags.article.causal = flags.causal;
    flags.article.repeat = repeat;
    run_text(flags);
    return;
  }
  if (command.has("--heads")) flags.layer.heads = flags.heads;
  if (command.has("--scale")) flags.layer.scale = flags.scale;
  if (command.has("--qkv-order")) flags.layer.qkv_order = order_of_flag(flags.qkv_order);
  flags.layer.causal = flags.causal;
  flags.layer.repeat = repeat;
  flags.layer.json = flags.json;
  check_output("--output", flags.layer.output,
               {{"--input", flags.layer.input},
                {"--weights", flags.layer.weights},
                {"the config.json beside --weights", config_next_to(flags.layer.weights)}});
  run_layer(flags.layer);
}

void add_text_options(Command& command, RunFlags& flags) {
  ArticleOptions& article = flags.article;
  command.text("--text", article.text, "the sentence");
  command.number("--dim", article.dim, {1, 8192}, "elements of an embedding");
  command.number("--batch", article.batch, {1, std::int64_t{1} << 20},
                 "how often the sentence stands in the batch");
  command.number("--seed", article.seed, {0, std::uint64_t{1} << 62},
                 "seed of the generated weights");
  command.file("--svg", flags.svg, "also draw the heat maps into this file");
}

void add_layer_options(Command& command, RunFlags& flags) {
  LayerOptions& layer = flags.layer;
  Option weights = command.file("--weights,--model", layer.weights,
                                "run a layer of this .safetensors file instead of a sentence");
  command.file("--input", layer.input, "its input, .npy, [tokens, dim] or [batch, tokens, dim]")
      .needs("--weights");
  weights.needs("--input");
  command.text("--prefix", layer.prefix, "where the layer's names begin in the file")
      .default_text("none")
      .needs("--weights");
  command
      .text("--qkv-order", flags.qkv_order,
            "rows of one matrix for all three projections: q_k_v, all of q, then k, then v; or "
            "by_kv_head, for each kv head its own of q, k and v")
      .default_text("by name or config.json")
      .needs("--weights");
  command
      .number("--scale", flags.scale, {-1e6, 1e6}, "what the products of q and k are multiplied by")
      .default_text("by config.json, or 1/sqrt(head_dim)")
      .needs("--weights");
  command.file("--output", layer.output, "write the layer's output into this .npy file")
      .needs("--weights");
  for (const char* const name : {"--text", "--dim", "--batch", "--seed", "--svg"}) {
    weights.excludes(name);
  }
}

}  // namespace

void add_run(CommandLine& line) {
  Command command = line.add(
      "run", "embedding, multi-head attention and output projection of a sentence, or a layer");
  const auto flags = std::make_shared<RunFlags>();
  add_text_options(command, *flags);
  command.number("--heads", flags->heads, {1, 8192},
                 "heads; with --weights the default is that of the config.json beside the file");
  command.flag("--causal", flags->causal, "a token sees itself and earlier ones only");
  add_layer_options(command, *flags);
  command.number("--repeat", flags->repeat, {1, 1000000}, "timed samples of the forward pass")
      .default_text("as many as fit in 0.2 s");
  command.text("--isa", flags->isa, isa_flag_help("or active"));
  command.flag("--json", flags->json, "print JSON");
  command.run([command, flags] {
    run(command, *flags);
    return 0;
  });
}

}  // namespace rapt::tools
