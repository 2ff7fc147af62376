// T5's relative position bias: a learned number per head for each bucket of distances, as a bias
// for attention() that is stored by distance instead of as a matrix.
#pragma once

#include "rapt/export.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>

namespace rapt {

/// Which distances share a bucket.
struct T5Buckets {
  std::int64_t buckets = 32;        ///< at least 2; at least 4 and even when bidirectional
  std::int64_t max_distance = 128;  ///< from here on all distances share the last bucket
  bool bidirectional = true;        ///< encoder: keys after the query have buckets of their own
};

/// The bucket of `distance` = key position - query position. Let x = |distance|, n = buckets. If
/// bidirectional, n is half of that, and distances above 0 use the second half of the buckets;
/// otherwise x = 0 for them, bucket 0. The bucket within its half is
///   x                                                             for x < e = n / 2
///   min(n - 1, e + floor(ln(x / e) / ln(max_distance / e) (n - e)))  for the others
/// Throws Error{invalid_argument} naming the field and its value.
/// Source: Raffel et al., "Exploring the Limits of Transfer Learning" (T5), 2020, section 2.1; the
/// formula as in its published code.
RAPT_API std::int64_t t5_bucket(std::int64_t distance, const T5Buckets& config);

/// by_distance[h, i] = table[t5_bucket(i - (q_len - 1)), h]: all distances of q_len queries and
/// kv_len keys that start at the same position.
///   table        [buckets, heads], any strides, last dimension dense, as models store it
///   by_distance  [heads, q_len + kv_len - 1], likewise; does not overlap the table
/// Throws Error{invalid_argument} naming the argument and its values; nothing is then written.
RAPT_API void t5_bias(TensorView<const float, 2> table, const T5Buckets& config, std::int64_t q_len,
                      TensorView<float, 2> by_distance);

/// `by_distance` as the bias of attention(), [1, heads, q_len, kv_len]: element (i, j) is the one
/// for distance j - i, by strides of -1 and 1. Unchecked.
constexpr TensorView<const float, 4> t5_bias_view(TensorView<const float, 2> by_distance,
                                                  std::int64_t q_len) {
  return {by_distance.data + (q_len - 1),
          {1, by_distance.shape[0], q_len, by_distance.shape[1] - q_len + 1},
          {0, by_distance.strides[0], -1, 1}};
}

}  // namespace rapt
