// A linear layer whose weights are packed once for the kernels.
#pragma once

#include "rapt/export.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <memory>
#include <span>

namespace rapt {

/// y = x W^T + b, with W packed at construction. Immutable afterwards: one object may be used from
/// many threads. A row's bits do not depend on how many rows are multiplied with it. W, x and y are
/// f32, bf16 or f16 each; W is packed in its own type, in half the memory for one of 16 bits. All
/// sums are f32.
class RAPT_API Linear {
 public:
  /// An empty layer; forward() throws.
  Linear() = default;

  /// weight: [out_features, in_features] as PyTorch stores it; any strides; copied.
  /// bias:   [out_features], or empty for none; copied.
  /// Throws Error{invalid_argument} for sizes below 1, null data, another type, or a bias of
  /// another length.
  explicit Linear(TensorView<const void, 2> weight, std::span<const float> bias = {});

  /// Weights given per head, as in einsum('sd,hde->hse', x, w): w[h, d, e] is the weight from input
  /// d to element e of head h; output feature h * e_count + e.
  ///   weight: [heads, in_features, e_count]; any strides; copied.
  static Linear from_heads(TensorView<const void, 3> weight, std::span<const float> bias = {});

  /// x: [rows, in_features], last dimension dense.  y: [rows, out_features], last dimension dense;
  /// may not overlap x. rows may be 0. In parallel in the caller's tbb::task_arena.
  /// Throws Error{invalid_argument}; y is then unchanged.
  void forward(TensorView<const void, 2> x, TensorView<void, 2> y) const;

  std::int64_t in_features() const noexcept;
  std::int64_t out_features() const noexcept;

 private:
  struct Packed;
  std::shared_ptr<const Packed> packed_;
};

}  // namespace rapt
