// One matrix of all three projections, split by heads: each projection is a set of blocks of rows
// that recur at equal distances, which Linear::from_heads() reads in place.
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "layer/layer_config.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace rapt {
namespace {

using core::check_extent;
using core::fail;

/// The matrix as `blocks` equal blocks of `rows` rows.
struct FusedMatrix {
  TensorView<const void, 2> weight;
  std::span<const float> bias;
  std::int64_t blocks, rows;

  /// The rows [begin, begin + count) of every block as a layer of its own.
  Linear part(std::int64_t begin, std::int64_t count) const {
    const auto [row, column] = weight.strides;
    std::vector<float> own;
    for (std::int64_t b = 0; b < blocks && !bias.empty(); ++b) {
      const auto first = bias.begin() + b * rows + begin;
      own.insert(own.end(), first, first + count);
    }
    return Linear::from_heads({weight.at(begin * row),
                               weight.dtype,
                               {blocks, weight.shape[1], count},
                               {rows * row, column, row}},
                              own);
  }
};

std::int64_t sum_of(const ProjectedFeatures& features) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(features.query, features.key, &sum) ||
      __builtin_add_overflow(sum, features.value, &sum)) {
    fail("config: the projections have more features than can be counted");
  }
  return sum;
}

}  // namespace

MultiHeadAttentionWeights MultiHeadAttentionWeights::from_fused(
    const MultiHeadAttentionConfig& config, FusedRows rows, TensorView<const void, 2> qkv,
    std::span<const float> qkv_bias, Linear output) try {
  const MultiHeadAttentionConfig c = with_defaults(config, !is_empty(output));
  check_extent("config.kv_model_dim: of a fused projection", c.kv_model_dim, "model_dim",
               c.model_dim);
  if (rows != FusedRows::q_k_v && rows != FusedRows::by_kv_head) {
    fail("rows: " + std::to_string(static_cast<int>(rows)) + " is neither q_k_v nor by_kv_head");
  }
  core::check_strided_input("qkv", qkv);
  const ProjectedFeatures features = projected_features(c);
  const std::int64_t all = sum_of(features);
  check_extent("qkv: rows", qkv.shape[0],
               "num_heads * head_dim + num_kv_heads * (head_dim + value_dim) =", all);
  check_extent("qkv: columns", qkv.shape[1], "model_dim", c.model_dim);
  if (!qkv_bias.empty()) {
    check_extent("qkv_bias: length", static_cast<std::int64_t>(qkv_bias.size()), "qkv's rows", all);
  }
  const std::int64_t blocks = rows == FusedRows::by_kv_head ? c.num_kv_heads : 1;
  const std::int64_t q = features.query / blocks, k = features.key / blocks;
  const std::int64_t v = features.value / blocks;
  const FusedMatrix matrix{qkv, qkv_bias, blocks, q + k + v};
  return {.query = matrix.part(0, q),
          .key = matrix.part(q, k),
          .value = matrix.part(q + k, v),
          .output = std::move(output)};
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
