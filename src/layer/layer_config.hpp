// The sizes of a multi-head attention layer: defaults, and weights that agree with them.
#pragma once

#include "rapt/multi_head_attention.hpp"

#include <cstdint>

namespace rapt {

inline bool is_empty(const Linear& projection) { return projection.out_features() == 0; }

/// Every default filled in. Throws Error{invalid_argument} naming the field.
MultiHeadAttentionConfig with_defaults(MultiHeadAttentionConfig config, bool has_output);

/// The features that the projections of a configuration with defaults give.
struct ProjectedFeatures {
  std::int64_t query, key, value;
  std::int64_t joined;  ///< of all heads' results, concatenated
};
ProjectedFeatures projected_features(const MultiHeadAttentionConfig& config);

/// Throws Error{invalid_argument} when keys and values cannot come from the tokens of the queries.
void check_self_attention(const MultiHeadAttentionConfig& config);

/// Throws Error{invalid_argument} if the weights do not match the configuration, whose defaults are
/// filled in.
void check_weights(const MultiHeadAttentionConfig& config,
                   const MultiHeadAttentionWeights& weights);

}  // namespace rapt
