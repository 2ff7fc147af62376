// The report of `rapt run` on a sentence: steps and shapes, heat maps, vectors, time; also as JSON.
#include "core/counted.hpp"
#include "demo/article.hpp"
#include "demo/heat_map.hpp"
#include "demo/tokenize.hpp"
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

namespace rapt::tools {
namespace {

constexpr std::size_t kMaxListed = 24;
constexpr std::int64_t kMaxColumns = 8;
/// Widths in columns of a word in a list, and of the vocabulary.
constexpr std::size_t kWordWidth = 12;
constexpr std::size_t kVocabularyWidth = 94;

std::string row_of(const float* values, std::int64_t count) {
  std::string text;
  for (std::int64_t i = 0; i < std::min(count, kMaxColumns); ++i) {
    text += fmt::format(" {:7.4f}", values[i]);
  }
  return count > kMaxColumns ? text + " …" : text;
}

std::string ids_text(const TokenizedText& tokens) {
  std::string text = "[";
  for (std::size_t i = 0; i < std::min(tokens.ids.size(), kMaxListed); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", tokens.ids[i]);
  }
  return text + (tokens.ids.size() > kMaxListed ? ", …]" : "]");
}

std::string vocabulary_text(const TokenizedText& tokens) {
  const std::size_t count = tokens.vocabulary.size();
  std::string text = fmt::format("{}, {}:", core::counted(count, "word"),
                                 tokens.built_in ? "built in" : "of this text, sorted");
  for (std::size_t id = 0; id < count; ++id) {
    const std::string entry =
        fmt::format(" {}={}", id, shortened(tokens.vocabulary[id], kWordWidth));
    if (id == 10 || display_width(text + entry) > kVocabularyWidth) return text + " …";
    text += entry;
  }
  return text;
}

std::string steps_text(const ArticleOptions& options, const ArticleResult& result) {
  const auto tokens = static_cast<std::int64_t>(result.tokens.words.size());
  const auto vocabulary = static_cast<std::int64_t>(result.tokens.vocabulary.size());
  const std::int64_t dim = options.dim;
  const std::int64_t heads = options.heads;
  const std::int64_t e = result.head_dim;
  using Shape = std::vector<std::int64_t>;
  struct Step {
    const char* name;
    Shape shape;
    std::string how;
  };
  const Step steps[] = {
      {"token ids", {tokens}, ids_text(result.tokens)},
      {"embedding x", {tokens, dim}, "rows of the table " + format_shape(Shape{vocabulary, dim})},
      {"query, key, value",
       {heads, tokens, e},
       "x · w[h], each w " + format_shape(Shape{heads, dim, e})},
      {"attention weights",
       {heads, tokens, tokens},
       fmt::format("softmax(query · keyᵀ / √{}{})", e, options.causal ? ", causal" : "")},
      {"context vectors", {heads, tokens, e}, "attention weights · value"},
      {"concatenation", {tokens, dim}, "the heads side by side"},
      {"output", {tokens, dim}, "concatenation · w_output " + format_shape(Shape{dim, dim})},
  };
  std::string text = "Step               Shape          How\n";
  for (const Step& step : steps) {
    text += fmt::format("{:<18} {:<14} {}\n", step.name, format_shape(step.shape), step.how);
  }
  return text;
}

std::string head_text(const ArticleOptions& options, const ArticleResult& result, std::int64_t head,
                      bool colour) {
  const auto tokens = static_cast<std::int64_t>(result.tokens.words.size());
  const TensorView<const float, 2> weights(result.weights.data() + head * tokens * tokens,
                                           {tokens, tokens});
  std::vector<std::string> lines = terminal_heat_map(result.tokens.words, weights, colour);
  std::string text = fmt::format("Head {}\n", head);
  const bool beside = tokens <= 6;
  for (std::size_t line = 0; line < lines.size(); ++line) {
    if (beside && line > 0) {
      const auto token = static_cast<std::int64_t>(line) - 1;
      lines[line].pop_back();
      lines[line] += "│" +
                     row_of(result.context.data() + token * options.dim + head * result.head_dim,
                            std::min<std::int64_t>(result.head_dim, 5)) +
                     (result.head_dim > 5 ? " …\n" : "\n");
    }
    text += lines[line];
  }
  return text + "\n";
}

std::string weights_text(const ArticleOptions& options, const ArticleResult& result, bool colour) {
  const std::size_t tokens = result.tokens.words.size();
  if (tokens > kMaxShaded) {
    return fmt::format(
        "Attention weights: {} words are too many for a terminal (at most {}); "
        "--svg draws up to {}.\n\n",
        tokens, kMaxShaded, kMaxDrawn);
  }
  constexpr std::int64_t kMaxHeads = 16;
  std::string text = fmt::format(
      "Attention weights: each row is a word that looks (query), each column a word it looks at "
      "(key){}.\n\n",
      tokens <= 6             ? ";\nright of the bar the head's context vector of that word"
      : tokens > kMaxNumbered ? ";\nshades are relative to the head's largest weight"
                              : "");
  for (std::int64_t head = 0; head < std::min(options.heads, kMaxHeads); ++head) {
    text += head_text(options, result, head, colour);
  }
  if (options.heads > kMaxHeads) {
    text += fmt::format("… and {} more.\n\n", core::counted(options.heads - kMaxHeads, "head"));
  }
  return text;
}

std::string output_text(const ArticleOptions& options, const ArticleResult& result) {
  const std::size_t shown = std::min(result.tokens.words.size(), kMaxListed);
  std::string text = fmt::format(
      "Output{}:\n", options.dim > kMaxColumns
                         ? fmt::format(" (the first {} of {} elements)", kMaxColumns, options.dim)
                         : "");
  for (std::size_t i = 0; i < shown; ++i) {
    const float* const row = result.output.data() + static_cast<std::int64_t>(i) * options.dim;
    text += padded(result.tokens.words[i], 11, true) + row_of(row, options.dim) + "\n";
  }
  if (result.tokens.words.size() > shown) text += "          …\n";
  return text;
}

template <class Values>
Json nested(const Values& values, std::span<const std::int64_t> shape, std::size_t offset = 0) {
  if (shape.empty()) return values[offset];
  std::size_t step = 1;
  for (const std::int64_t extent : shape.subspan(1)) step *= static_cast<std::size_t>(extent);
  Json list = Json::list();
  for (std::size_t i = 0; i < static_cast<std::size_t>(shape[0]); ++i) {
    list.push_back(nested(values, shape.subspan(1), offset + i * step));
  }
  return list;
}

}  // namespace

std::string article_report(const ArticleOptions& options, const ArticleResult& result,
                           bool colour) {
  const Machine machine = describe_machine();
  std::string text = fmt::format("Rapt {} with {} on {}\n\n", version(), isa_name(active_isa()),
                                 sentence(machine));
  text += fmt::format("Text        {}\n", shortened(printable(options.text), 84));
  text += fmt::format("Vocabulary  {}\n", vocabulary_text(result.tokens));
  text += fmt::format(
      "Weights     random: SplitMix64 with seed {}, normal, projections divided by "
      "√{}\n\n",
      options.seed, options.dim);
  text += steps_text(options, result) + "\n";
  text += weights_text(options, result, colour);
  text += output_text(options, result) + "\n";
  text += fmt::format(
      "Time of one forward pass{}: {} (median of {}; least {}), hash of the output "
      "{}\n",
      options.batch > 1 ? fmt::format(" of {} sentences", options.batch) : "",
      format_seconds(result.time.median), result.time.repeats, format_seconds(result.time.least),
      hash_of(result.output));
  return text;
}

std::string article_json(const ArticleOptions& options, const ArticleResult& result) {
  const auto tokens = static_cast<std::int64_t>(result.tokens.words.size());
  using Shape = std::vector<std::int64_t>;
  Json json = {{"machine", to_json(describe_machine())},
               {"version", version()},
               {"isa", isa_name(active_isa())},
               {"text", options.text},
               {"tokens", result.tokens.words},
               {"ids", result.tokens.ids},
               {"vocabulary", result.tokens.vocabulary},
               {"dim", options.dim},
               {"heads", options.heads},
               {"head_dim", result.head_dim},
               {"batch", options.batch},
               {"causal", options.causal},
               {"seed", options.seed},
               {"generator", "SplitMix64"},
               {"embedding", nested(result.embedded, Shape{tokens, options.dim})},
               {"context", nested(result.context, Shape{tokens, options.dim})},
               {"output", nested(result.output, Shape{tokens, options.dim})},
               {"median_us", result.time.median * 1e6},
               {"min_us", result.time.least * 1e6},
               {"repeats", result.time.repeats},
               {"hash", hash_of(result.output)}};
  json["attention_weights"] = result.weights.empty()
                                  ? Json()
                                  : nested(result.weights, Shape{options.heads, tokens, tokens});
  return json.text();
}

}  // namespace rapt::tools
