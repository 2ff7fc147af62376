// RMS normalisation of rows: on its own, and of the heads of q and k inside attention() (QK-norm).
#pragma once

#include "rapt/export.hpp"
#include "rapt/tensor.hpp"

#include <span>

namespace rapt {

/// y = x / sqrt(mean_d(x_d^2) + epsilon) * weight_d, for each row of the last dimension.
///   x, y    [batch, heads, tokens, width], any strides, last dimension dense; y is x itself (same
///           memory, type, shape and strides: in place) or overlaps neither x nor the weight;
///           f32, bf16 or f16 each
///   weight  [width], or empty: all 1
/// The bits of a row depend on nothing but the row, and are those of attention() with this
/// normalisation (docs/arithmetic.md). A row whose sum of squares overflows becomes zeros. In
/// parallel in the caller's tbb::task_arena. Throws Error{invalid_argument} naming the
/// argument and its values before anything is written.
/// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
RAPT_API void rms_norm(TensorView<const void, 4> x, TensorView<void, 4> y,
                       std::span<const float> weight = {}, float epsilon = 1e-6f);

/// The same for rows [rows, width].
RAPT_API void rms_norm(TensorView<const void, 2> x, TensorView<void, 2> y,
                       std::span<const float> weight = {}, float epsilon = 1e-6f);

/// QK-norm: each row of q and of k is normalised by rms_norm(), before it is rotated.
/// Source: Dehghani et al., "Scaling Vision Transformers to 22 Billion Parameters", 2023; with RMS
/// and a weight per component as in Qwen 3 and Gemma 3.
struct QkNorm {
  std::span<const float> q_weight{}, k_weight{};  ///< [head_dim], or empty: all 1
  float epsilon = 1e-6f;                          ///< at least 0

  /// False: the keys are already normalised, as in a cache.
  bool normalize_keys = true;
};

}  // namespace rapt
