#include "layer/cached_rows.hpp"

#include "attention/validate.hpp"
#include "core/counted.hpp"
#include "core/views.hpp"
#include "layer/layer_call.hpp"
#include "rapt/rope.hpp"

#include <array>
#include <cstddef>
#include <string>

namespace rapt {

using core::check_extent;
using core::counted;
using core::fail;
using core::memory_range;

void check_tensors(const MultiHeadAttentionConfig& c, TensorView<const void, 2> x,
                   TensorView<void, 2> y) {
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

void check_rows(const RowNames& names, std::span<const std::int64_t> sequences,
                std::span<const std::int64_t> rows, std::int64_t count) {
  validate_row_offsets(names.rows, rows, count);
  check_extent(names.offsets, static_cast<std::int64_t>(rows.size()), names.sequences,
               static_cast<std::int64_t>(sequences.size()) + 1);
}

void check_places(const char* name, const MultiHeadAttentionConfig& config, const KvCache& cache,
                  std::span<const std::int64_t> sequences, std::span<const std::int64_t> rows) {
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const std::int64_t length = cache.length(sequences[s]);
    const std::int64_t count = rows[s + 1] - rows[s];
    if (config.rope.cos.data == nullptr || count == 0) continue;
    if (length + count <= config.rope.cos.shape[0]) continue;
    fail(std::string(name) + ": " + counted(count, "row") + " behind the " +
         counted(length, "token") + " of sequence " + std::to_string(sequences[s]) +
         " would pass the " + counted(config.rope.cos.shape[0], "position") +
         " of the layer's RoPE");
  }
}

void check_row_options(const AttentionOptions& options) {
  if (options.qk_norm) fail("qk_norm: belongs in the layer's configuration when there is a cache");
  const RopeOptions& rope = options.rope;
  if (rope.table.cos.data != nullptr || rope.table.sin.data != nullptr) {
    fail("rope.table: belongs in the layer's configuration when there is a cache");
  }
  if (rope.k_positions.data != nullptr) {
    fail("rope: positions cannot be given with a cache, which knows them");
  }
}

AttentionOptions row_options(const MultiHeadAttentionConfig& c,
                             const MultiHeadAttentionWeights& weights,
                             const AttentionOptions& options) {
  AttentionOptions all = with_configuration(c, weights, options);
  if (c.rope.cos.data != nullptr) all.rope.rotate_keys = false;
  return all;
}

void check_apart(TensorView<const void, 2> x, const CacheQueries& queries, TensorView<void, 2> y,
                 const AttentionOptions& options) {
  const std::array inputs{NamedMemory{"x", memory_range(x)},
                          NamedMemory{"queries.sequences", memory_range(queries.sequences)},
                          NamedMemory{"queries.rows", memory_range(queries.rows)}};
  validate_apart(NamedMemory{"y", memory_range(y)}, inputs, options);
}

void rotate_keys(const MultiHeadAttentionConfig& c, TensorView<float, 3> k, const KvCache& cache,
                 std::span<const std::int64_t> sequences, std::span<const std::int64_t> rows) {
  if (c.rope.cos.data == nullptr) return;
  const TensorView<float, 4> heads = heads_of(k, c.num_kv_heads, c.head_dim);
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const std::int64_t row = rows[s];
    const TensorView<float, 4> own = heads.sliced(2, row, rows[s + 1] - row);
    apply_rope(own, own, c.rope, cache.length(sequences[s]));
  }
}

}  // namespace rapt
