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
void project(const Linear& projection, TensorView<const float, 3> x, TensorView<float, 3> y);

/// [batch, tokens, heads * width] as [batch, heads, tokens, width].
template <class T>
TensorView<T, 4> heads_of(TensorView<T, 3> view, std::int64_t heads, std::int64_t width) {
  return {view.data,
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
  TensorView<float, 3>
      z;  ///< the heads' results, concatenated; y itself without an output projection
};

/// Room for the tokens of x and context. Throws Error{out_of_memory}.
LayerTensors layer_tensors(const MultiHeadAttentionConfig& config, bool has_output,
                           TensorView<const float, 3> x, TensorView<const float, 3> context,
                           TensorView<float, 3> y);

}  // namespace rapt
