// The layer over a KvCache: projects its rows, makes their keys and values part of the sequences,
// and attends over those. What fails on the way takes the new tokens out of the cache again.
#include <array>
#include <cstdint>
#include <string>

#include "core/views.hpp"
#include "driver/score_callback.hpp"
#include "driver/validate.hpp"
#include "layer/growth.hpp"
#include "layer/layer_call.hpp"
#include "layer/layer_config.hpp"
#include "rapt/kv_cache.hpp"

namespace rapt {
namespace {

using core::check_extent;
using core::fail;
using core::memory_range;

void check_tensors(const MultiHeadAttentionConfig& c, TensorView<const float, 2> x,
                   TensorView<float, 2> y) {
  check_self_attention(c);
  core::check_input("x", x);
  check_extent("x: features", x.shape[1], "the layer's model_dim", c.model_dim);
  check_extent("y: rows", y.shape[0], "x's rows", x.shape[0]);
  check_extent("y: features", y.shape[1], "the layer's output_dim", c.output_dim);
  core::check_output("y", y);
}

void check_cache(const MultiHeadAttentionConfig& c, const KvCacheConfig& cache) {
  check_extent("cache: kv_heads", cache.kv_heads, "the layer's num_kv_heads", c.num_kv_heads);
  check_extent("cache: head_dim", cache.head_dim, "the layer's head_dim", c.head_dim);
  check_extent("cache: value_dim", cache.value_dim, "the layer's value_dim", c.value_dim);
}

/// The rows belong to sequences, whose new tokens stand at rows of the table.
void check_queries(const MultiHeadAttentionConfig& c, const KvCache& cache,
                   const CacheQueries& queries, std::int64_t rows) {
  validate_row_offsets("queries.rows", queries.rows, rows);
  check_extent("queries.rows: offsets", static_cast<std::int64_t>(queries.rows.size()),
               "queries.sequences + 1 =", static_cast<std::int64_t>(queries.sequences.size()) + 1);
  for (std::size_t s = 0; s < queries.sequences.size(); ++s) {
    const std::int64_t length = cache.length(queries.sequences[s]);
    const std::int64_t count = queries.rows[s + 1] - queries.rows[s];
    if (c.rope.cos.data == nullptr || count == 0 || length + count <= c.rope.cos.shape[0]) continue;
    fail("x: " + std::to_string(count) + " rows behind the " + std::to_string(length) +
         " tokens of sequence " + std::to_string(queries.sequences[s]) + " reach beyond the " +
         std::to_string(c.rope.cos.shape[0]) + " positions of the layer's RoPE");
  }
}

/// A cache keeps keys that are normalised and rotated, for every later call: what does it belongs
/// in the configuration, and the places of the tokens are the cache's to say.
void check_row_options(const AttentionOptions& options) {
  if (options.qk_norm) fail("qk_norm: belongs in the layer's configuration when there is a cache");
  const RopeOptions& rope = options.rope;
  if (rope.table.cos.data != nullptr || rope.table.sin.data != nullptr) {
    fail("rope.table: belongs in the layer's configuration when there is a cache");
  }
  if (rope.q_positions.data != nullptr || rope.k_positions.data != nullptr) {
    fail("rope: positions cannot be given with a cache, which knows them");
  }
}

/// Packed rows as the tokens of a batch of one.
template <class T>
TensorView<T, 3> as_batch_of_one(const TensorView<T, 2>& view) {
  return {view.data, {1, view.shape[0], view.shape[1]}, {0, view.strides[0], view.strides[1]}};
}

/// [1, rows, heads * width] as [heads, rows, width].
TensorView<float, 3> tokens_of(TensorView<float, 3> view, std::int64_t heads, std::int64_t width) {
  return {view.data, {heads, view.shape[1], width}, {width, view.strides[1], 1}};
}

/// Keys as the cache keeps them, in place.
void rotate_keys(const MultiHeadAttentionConfig& c, TensorView<float, 3> k, const KvCache& cache,
                 const CacheQueries& queries) {
  if (c.rope.cos.data == nullptr) return;
  const TensorView<float, 4> heads = heads_of(k, c.num_kv_heads, c.head_dim);
  for (std::size_t s = 0; s < queries.sequences.size(); ++s) {
    const std::int64_t row = queries.rows[s];
    const TensorView<float, 4> own = heads.sliced(2, row, queries.rows[s + 1] - row);
    apply_rope(own, own, c.rope, cache.length(queries.sequences[s]));
  }
}

}  // namespace

void MultiHeadAttention::forward(TensorView<const float, 2> x, KvCache& cache,
                                 const CacheQueries& queries, TensorView<float, 2> y,
                                 const AttentionOptions& options) const {
  const MultiHeadAttentionConfig& c = config_;
  check_tensors(c, x, y);
  check_cache(c, cache.config());
  refuse_inside_callback();
  check_queries(c, cache, queries, x.shape[0]);
  check_row_options(options);
  AttentionOptions all = with_configuration(c, weights_, options);
  if (c.rope.cos.data != nullptr) all.rope.rotate_keys = false;
  const std::array inputs{NamedMemory{"x", memory_range(x)},
                          NamedMemory{"queries.sequences", memory_range(queries.sequences)},
                          NamedMemory{"queries.rows", memory_range(queries.rows)}};
  validate_apart(NamedMemory{"y", memory_range(y)}, inputs, all);

  const bool has_output = !is_empty(weights_.output);
  const TensorView<const float, 3> rows = as_batch_of_one(x);
  const TensorView<float, 3> result = as_batch_of_one(y);
  const auto [q, k, v, z] = layer_tensors(c, has_output, rows, rows, result);
  const std::int64_t first = queries.rows.front(), count = queries.rows.back() - first;
  const auto used = [=](auto view) { return view.sliced(1, first, count); };
  project(weights_.query, used(rows), used(q));
  project(weights_.key, used(rows), used(k));
  project(weights_.value, used(rows), used(v));
  normalize_keys(c, weights_.key_norm, used(k));
  rotate_keys(c, k, cache, queries);
  PendingTokens tokens(*cache.store_, queries.sequences, queries.rows,
                       tokens_of(k, c.num_kv_heads, c.head_dim),
                       tokens_of(v, c.num_kv_heads, c.value_dim));
  attention(tokens_of(q, c.num_heads, c.head_dim).swapped(0, 1), cache, queries,
            tokens_of(z, c.num_heads, c.value_dim).swapped(0, 1), all);
  if (has_output) project(weights_.output, used(z), used(result));
  tokens.keep();
}

}  // namespace rapt
