// The sentence: weights drawn in a fixed order, one pass that keeps the heads' weights, and timed
// passes.
#include "demo/article.hpp"

#include "core/counted.hpp"
#include "core/random.hpp"
#include "demo/heat_map.hpp"
#include "demo/tokenize.hpp"
#include "measure/machine.hpp"
#include "measure/measure.hpp"
#include "measure/pass_time.hpp"
#include "text/usage_error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace rapt::tools {
namespace {

std::vector<float> drawn(Random& random, std::int64_t count, float factor) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = random.normal() * factor;
  return values;
}

/// The projections and the embedding table, drawn in the order that article.hpp documents.
struct Model {
  std::vector<float> table;
  MultiHeadAttentionConfig config;
  MultiHeadAttentionWeights weights;
};

Model draw_model(const ArticleOptions& options, std::int64_t vocabulary) {
  const std::int64_t dim = options.dim;
  const std::int64_t head_dim = dim / options.heads;
  const float factor = 1.0f / std::sqrt(static_cast<float>(dim));
  Random random(options.seed);
  Model model;
  model.config = {.model_dim = dim, .num_heads = options.heads};
  model.table = drawn(random, vocabulary * dim, 1.0f);
  const auto from_heads = [&] {
    const std::vector<float> weight = drawn(random, dim * dim, factor);
    return Linear::from_heads(
        TensorView<const float, 3>(weight.data(), {options.heads, dim, head_dim}));
  };
  model.weights.query = from_heads();
  model.weights.key = from_heads();
  model.weights.value = from_heads();
  const std::vector<float> output = drawn(random, dim * dim, factor);
  // Drawn as [in, out], the form in which the concatenated heads are multiplied; a Linear takes
  // [out, in].
  model.weights.output =
      Linear(TensorView<const float, 2>(output.data(), {dim, dim}).swapped(0, 1));
  return model;
}

void check(const ArticleOptions& options, const TokenizedText& tokens) {
  if (tokens.words.empty()) throw UsageError("--text: there is no word in it");
  if (options.dim % options.heads != 0) {
    throw UsageError(
        fmt::format("--heads: {} does not divide --dim {}", options.heads, options.dim));
  }
  const auto dim = static_cast<double>(options.dim);
  const auto rows = static_cast<double>(options.batch) * static_cast<double>(tokens.words.size());
  const double floats =
      static_cast<double>(tokens.vocabulary.size()) * dim + 9.0 * dim * dim + 12.0 * rows * dim;
  require_memory(4.0 * floats,
                 fmt::format("--batch {} with {} of --dim {}", options.batch,
                             core::counted(tokens.words.size(), "token"), options.dim));
}

}  // namespace

ArticleResult run_article(const ArticleOptions& options) {
  ArticleResult result;
  result.tokens = tokenize(options.text);
  check(options, result.tokens);
  const auto tokens = static_cast<std::int64_t>(result.tokens.words.size());
  const auto vocabulary = static_cast<std::int64_t>(result.tokens.vocabulary.size());
  const std::int64_t dim = options.dim;
  result.head_dim = dim / options.heads;
  const Model model = draw_model(options, vocabulary);

  const auto row_floats = static_cast<std::size_t>(tokens * dim);
  result.embedded.resize(row_floats);
  embedding_lookup(TensorView<const float, 2>(model.table.data(), {vocabulary, dim}),
                   result.tokens.ids, TensorView<float, 2>(result.embedded.data(), {tokens, dim}));

  MultiHeadAttentionWeights without_output = model.weights;
  without_output.output = Linear();
  const MultiHeadAttention heads(model.config, without_output);
  const TensorView<const float, 3> sentence(result.embedded.data(), {1, tokens, dim});
  AttentionOptions attend;
  if (options.causal) attend.mask = causal();
  result.context.resize(row_floats);
  AttentionOptions with_weights = attend;
  if (result.tokens.words.size() <= kMaxDrawn) {
    result.weights.resize(static_cast<std::size_t>(options.heads * tokens * tokens));
    with_weights.weights = {result.weights.data(), {1, options.heads, tokens, tokens}};
  }
  heads.forward(sentence, TensorView<float, 3>(result.context.data(), {1, tokens, dim}),
                with_weights);

  const MultiHeadAttention layer(model.config, model.weights);
  const auto batch = static_cast<std::size_t>(options.batch);
  std::vector<float> x;
  x.reserve(batch * row_floats);
  for (std::size_t b = 0; b < batch; ++b) {
    x.insert(x.end(), result.embedded.begin(), result.embedded.end());
  }
  result.output.resize(batch * row_floats);
  const TensorView<const float, 3> batch_x(x.data(), {options.batch, tokens, dim});
  const TensorView<float, 3> batch_y(result.output.data(), {options.batch, tokens, dim});
  result.time = time_passes([&] { layer.forward(batch_x, batch_y, attend); }, options.repeat);
  return result;
}

}  // namespace rapt::tools
