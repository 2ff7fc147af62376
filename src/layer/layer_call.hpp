// What every forward() of the layer does around its attention: projections to and from heads, in
// workspace, and what the configuration adds to the options.
#pragma once

#include <cstdint>

#include "rapt/linear.hpp"
#include "rapt/multi_head_attention.hpp"
#include "rapt/tensor.hpp"

namespace rapt {

/// The options of a call with the configuration's scale, norms and table of RoPE. Throws
/// Error{invalid_argument} when the call gives a norm or a table too.
AttentionOptions with_configuration(const MultiHeadAttentionConfig& config,
                                    const MultiHeadAttentionWeights& weights,
                                    const AttentionOptions& options);

/// y = projection(x). A row's bits depend on no other row, so the sequences are multiplied as one
/// matrix wherever their rows lie evenly spaced.
void project(const Linear& projection, TensorView<const float, 3> x, TensorView<float, 3> y);

/// [batch, tokens, heads * width] as [batch, heads, tokens, width].
template <class T>
TensorView<T, 4> heads_of(TensorView<T, 3> view, std::int64_t heads, std::int64_t width) {
  return {view.data,
          {view.shape[0], heads, view.shape[1], width},
          {view.strides[0], width, view.strides[1], 1}};
}

/// The results of the projections, side by side in memory that each thread keeps for its next call;
/// each begins on a cache line.
class LayerWorkspace {
 public:
  /// Adds room for [batch and tokens of `like`, features] and returns where it begins.
  std::int64_t add(TensorView<const float, 3> like, std::int64_t features);

  /// The tensor that was added at `begin`, once all are added.
  TensorView<float, 3> at(std::int64_t begin, TensorView<const float, 3> like,
                          std::int64_t features) const;

 private:
  std::int64_t size_ = 0;
};

}  // namespace rapt
