// The default job of `rapt run`: a sentence through embedding, heads and output projection, with
// every intermediate result.
#pragma once

#include "demo/tokenize.hpp"
#include "measure/pass_time.hpp"
#include "rapt/multi_head_attention.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace rapt::tools {

struct ArticleOptions {
  std::string text = "my name is Marcello Politi";
  std::int64_t dim = 16;
  std::int64_t heads = 4;
  std::int64_t batch = 1;
  std::uint64_t seed = 42;
  bool causal = false;
  std::optional<std::int64_t> repeat;
};

/// All results that the report shows, row-major and dense.
struct ArticleResult {
  TokenizedText tokens;
  std::int64_t head_dim = 0;
  std::vector<float> embedded;  ///< [tokens, dim]
  std::vector<float> weights;   ///< [heads, tokens, tokens]; empty beyond kMaxDrawn tokens
  std::vector<float> context;   ///< [tokens, dim]: the heads' context vectors, concatenated
  std::vector<float> output;    ///< [batch, tokens, dim]
  PassTime time;                ///< without the embedding
};

/// Runs the sentence. Weights are drawn from SplitMix64 with `seed` in the order embedding table
/// [vocabulary, dim], query, key and value weights [heads, dim, head_dim] each, output weights
/// [dim, dim] (from concatenated element to output): normal, all but the table divided by
/// sqrt(dim). Throws UsageError for heads that do not divide dim and a text without words, and
/// Error{out_of_memory}.
ArticleResult run_article(const ArticleOptions& options);

/// The output of `rapt run`: steps and shapes, heat maps next to context vectors, outputs, time.
std::string article_report(const ArticleOptions& options, const ArticleResult& result, bool colour);

/// The report as JSON; `output` is that of the first sentence of the batch.
std::string article_json(const ArticleOptions& options, const ArticleResult& result);

}  // namespace rapt::tools
