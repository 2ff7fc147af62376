// The layer's cross-attention over a KvCache: a context's keys and values are appended once, and
// queries of other tokens attend over them any number of times.
#include "attention/score_callback.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "layer/cached_rows.hpp"
#include "layer/layer_call.hpp"
#include "layer/layer_config.hpp"
#include "rapt/kv_cache.hpp"

#include <cstdint>

namespace rapt {

void MultiHeadAttention::append_context(TensorView<const void, 2> context, KvCache& cache,
                                        std::span<const std::int64_t> sequences,
                                        std::span<const std::int64_t> rows) const try {
  const MultiHeadAttentionConfig& c = config_;
  const MultiHeadAttentionWeights& weights = this->weights();
  core::check_input("context", context);
  core::check_extent("context: features", context.shape[1], "the layer's kv_model_dim",
                     c.kv_model_dim);
  check_cache(c, cache.config());
  refuse_inside_callback();
  check_rows(kRowNames, sequences, rows, context.shape[0]);
  check_places("context", c, cache, sequences, rows);

  const TensorView<const void, 3> tokens = as_batch_of_one(context);
  const TensorView<const void, 3> no_queries(nullptr, DType::f32, {1, 0, c.model_dim});
  const auto [q, k, v, z] = layer_tensors(c, true, no_queries, tokens, {});
  const std::int64_t first = rows.front(), count = rows.back() - first;
  const auto used = [=](auto view) { return view.sliced(1, first, count); };
  project(weights.key, used(tokens), used(k));
  project(weights.value, used(tokens), used(v));
  normalize_keys(c, weights.key_norm, used(k));
  rotate_keys(c, k, cache, sequences, rows);
  cache.append(sequences, rows, tokens_of(k, c.num_kv_heads, c.head_dim),
               tokens_of(v, c.num_kv_heads, c.value_dim));
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void MultiHeadAttention::cross_forward(TensorView<const void, 2> x, const KvCache& cache,
                                       const CacheQueries& queries, TensorView<void, 2> y,
                                       const AttentionOptions& options) const {
  const MultiHeadAttentionConfig& c = config_;
  const MultiHeadAttentionWeights& weights = this->weights();
  const AttentionOptions all = core::or_out_of_memory([&] {
    check_tensors(c, x, y);
    check_cache(c, cache.config());
    refuse_inside_callback();
    check_rows(kQueryRowNames, queries.sequences, queries.rows, x.shape[0]);
    check_row_options(options);
    const AttentionOptions both = row_options(c, weights, options);
    check_apart(x, queries, y, both);
    return both;
  });

  const bool has_output = !is_empty(weights.output);
  const TensorView<const void, 3> rows = as_batch_of_one(x);
  const TensorView<void, 3> result = as_batch_of_one(y);
  const TensorView<const void, 3> no_context(nullptr, DType::f32, {1, 0, c.kv_model_dim});
  const auto [q, k, v, z] = layer_tensors(c, has_output, rows, no_context, result);
  const std::int64_t first = queries.rows.front(), count = queries.rows.back() - first;
  const auto used = [=](auto view) { return view.sliced(1, first, count); };
  project(weights.query, used(rows), used(q));
  cross_attention(tokens_of(q, c.num_heads, c.head_dim), cache, queries,
                  tokens_of(z, c.num_heads, c.value_dim), all);
  if (has_output) project(weights.output, used(z), used(result));
}

}  // namespace rapt
