// The layer over a KvCache: projects its rows, appends their keys and values to the sequences, and
// attends over those. If a step fails, the new tokens are removed from the cache again.
#include "attention/score_callback.hpp"
#include "cache/growth.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "layer/cached_rows.hpp"
#include "layer/layer_call.hpp"
#include "layer/layer_config.hpp"
#include "rapt/kv_cache.hpp"

#include <cstdint>
#include <string>

namespace rapt {

using core::fail;

void MultiHeadAttention::forward(TensorView<const void, 2> x, KvCache& cache,
                                 const CacheQueries& queries, TensorView<void, 2> y,
                                 const AttentionOptions& options) const {
  const MultiHeadAttentionConfig& c = config_;
  const MultiHeadAttentionWeights& weights = this->weights();
  const AttentionOptions all = core::or_out_of_memory([&] {
    check_self_attention(c);
    check_tensors(c, x, y);
    check_cache(c, cache.config());
    refuse_inside_callback();
    check_rows(kQueryRowNames, queries.sequences, queries.rows, x.shape[0]);
    check_places("x", c, cache, queries.sequences, queries.rows);
    check_row_options(options);
    if (options.rope.q_positions.data != nullptr) {
      fail("rope: positions cannot be given with a cache, which knows them");
    }
    const AttentionOptions both = row_options(c, weights, options);
    check_apart(x, queries, y, both);
    return both;
  });

  const bool has_output = !is_empty(weights.output);
  const TensorView<const void, 3> rows = as_batch_of_one(x);
  const TensorView<void, 3> result = as_batch_of_one(y);
  const auto [q, k, v, z] = layer_tensors(c, has_output, rows, rows, result);
  const std::int64_t first = queries.rows.front(), count = queries.rows.back() - first;
  const auto used = [=](auto view) { return view.sliced(1, first, count); };
  project(weights.query, used(rows), used(q));
  project(weights.key, used(rows), used(k));
  project(weights.value, used(rows), used(v));
  normalize_keys(c, weights.key_norm, used(k));
  rotate_keys(c, k, cache, queries.sequences, queries.rows);
  PendingTokens tokens(cache.store(), queries.sequences, queries.rows,
                       tokens_of(k, c.num_kv_heads, c.head_dim),
                       tokens_of(v, c.num_kv_heads, c.value_dim));
  attention(tokens_of(q, c.num_heads, c.head_dim), cache, queries,
            tokens_of(z, c.num_heads, c.value_dim), all);
  if (has_output) project(weights.output, used(z), used(result));
  tokens.keep();
}

}  // namespace rapt
