// The parts of every forward() around its attention: projections to and from heads, workspace, and
// the options that come from the configuration.
#pragma once

#include "rapt/linear.hpp"
#include "rapt/multi_head_attention.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <span>

namespace rapt {

/// The options of a call with the configuration's scale, norm of the queries and table of RoPE.
/// Throws Error{invalid_argument} when the call gives a norm or a table too.
AttentionOptions with_configuration(const MultiHeadAttentionConfig& config,
                                    const MultiHeadAttentionWeights& weights,
                                    const AttentionOptions& options);

/// y = projection(x). A row's bits depend on no other row, so the sequences are multiplied as one
/// matrix if their rows are evenly spaced.
void project(const Linear& projection, TensorView<const void, 3> x, TensorView<void, 3> y);

/// [batch, tokens, heads * width] as [batch, heads, tokens, width].
inline TensorView<float, 4> heads_of(TensorView<float, 3> view, std::int64_t heads,
                                     std::int64_t width) {
  return {view.data,
          {view.shape[0], heads, view.shape[1], width},
          {view.strides[0], width, view.strides[1], 1}};
}
inline TensorView<void, 4> heads_of(TensorView<void, 3> view, std::int64_t heads,
                                    std::int64_t width) {
  return {view.data,
          view.dtype,
          {view.shape[0], heads, view.shape[1], width},
          {view.strides[0], width, view.strides[1], 1}};
}

/// Applies the configuration's norm to the keys [batch, tokens, num_kv_heads * head_dim] in place,
/// once: attention() would normalise them again for each block of queries.
void normalize_keys(const MultiHeadAttentionConfig& config, std::span<const float> weight,
                    TensorView<float, 3> k);

/// The results of the projections, in memory that each thread keeps for its next call.
struct LayerTensors {
  TensorView<float, 3> q, k, v;
  /// The heads' results, concatenated; y itself without an output projection.
  TensorView<void, 3> z;
};

/// Room for the tokens of x and context. Throws Error{out_of_memory}.
LayerTensors layer_tensors(const MultiHeadAttentionConfig& config, bool has_output,
                           TensorView<const void, 3> x, TensorView<const void, 3> context,
                           TensorView<void, 3> y);

}  // namespace rapt
