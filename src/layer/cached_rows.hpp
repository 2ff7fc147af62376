// Shared by the layer's calls over a cache: packed rows that are tokens or queries of its
// sequences, and keys in the form that the cache stores.
#pragma once

#include "rapt/kv_cache.hpp"
#include "rapt/multi_head_attention.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <span>

namespace rapt {

/// Throws unless x and y have the layer's features and equally many rows.
void check_tensors(const MultiHeadAttentionConfig& config, TensorView<const void, 2> x,
                   TensorView<void, 2> y);

/// Throws unless the cache has the layer's heads.
void check_cache(const MultiHeadAttentionConfig& config, const KvCacheConfig& cache);

/// Argument names for error messages, as literals so that a passing check does not allocate.
struct RowNames {
  const char* rows;
  const char* offsets;
  const char* sequences;
};
inline constexpr RowNames kRowNames{"rows", "rows: offsets", "sequences + 1 ="};
inline constexpr RowNames kQueryRowNames{"queries.rows", "queries.rows: offsets",
                                         "queries.sequences + 1 ="};

/// Throws unless `rows` has an ascending offset for each sequence, plus the end, all within `count`
/// rows.
void check_rows(const RowNames& names, std::span<const std::int64_t> sequences,
                std::span<const std::int64_t> rows, std::int64_t count);

/// Throws unless the layer's table of RoPE has the positions of all rows of tensor `name`, which
/// are the next tokens of their sequences.
void check_places(const char* name, const MultiHeadAttentionConfig& config, const KvCache& cache,
                  std::span<const std::int64_t> sequences, std::span<const std::int64_t> rows);

/// A cache stores normalised and rotated keys for all later calls: throws if options set what
/// belongs in the configuration, or key positions, which the cache determines.
void check_row_options(const AttentionOptions& options);

/// The options with those of the configuration; keys come from the cache in their final form.
AttentionOptions row_options(const MultiHeadAttentionConfig& config,
                             const MultiHeadAttentionWeights& weights,
                             const AttentionOptions& options);

/// Throws when y overlaps x, the queries or anything that the options read.
void check_apart(TensorView<const void, 2> x, const CacheQueries& queries, TensorView<void, 2> y,
                 const AttentionOptions& options);

/// Rotates the rows of k [1, rows, num_kv_heads * head_dim], which are the next tokens of their
/// sequences, in place.
void rotate_keys(const MultiHeadAttentionConfig& config, TensorView<float, 3> k,
                 const KvCache& cache, std::span<const std::int64_t> sequences,
                 std::span<const std::int64_t> rows);

/// Packed rows as the tokens of a batch of one.
template <class Void>
TensorView<Void, 3> as_batch_of_one(const TensorView<Void, 2>& view) {
  return {view.data,
          view.dtype,
          {1, view.shape[0], view.shape[1]},
          {0, view.strides[0], view.strides[1]}};
}

/// [1, rows, heads * width] as [rows, heads, width].
inline TensorView<float, 3> tokens_of(TensorView<float, 3> view, std::int64_t heads,
                                      std::int64_t width) {
  return {view.data, {view.shape[1], heads, width}, {view.strides[1], width, 1}};
}
inline TensorView<void, 3> tokens_of(TensorView<void, 3> view, std::int64_t heads,
                                     std::int64_t width) {
  return {view.data, view.dtype, {view.shape[1], heads, width}, {view.strides[1], width, 1}};
}

}  // namespace rapt
