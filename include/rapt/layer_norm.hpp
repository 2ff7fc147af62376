// Layer normalisation of rows.
#pragma once

#include "rapt/export.hpp"
#include "rapt/tensor.hpp"

#include <span>

namespace rapt {

/// Options of layer_norm(). Outputs that are not empty are written; they have an element for each
/// row, in the order of the rows, and overlap no other argument.
struct LayerNormOptions {
  std::span<const float> weight{};       ///< [width], or empty: all 1
  std::span<const float> bias{};         ///< [width], or empty: all 0
  float epsilon = 1e-5f;                 ///< at least 0
  std::span<float> mean{};               ///< output: mean_d(x_d)
  std::span<float> inverse_deviation{};  ///< output: 1 / sqrt(variance + epsilon)
};

/// y = (x - mean) / sqrt(variance + epsilon) * weight_d + bias_d, for each row of the last
/// dimension, with mean = mean_d(x_d) and variance = mean_d((x_d - mean)^2).
///   x, y    [batch, heads, tokens, width], any strides, last dimension dense; y is x itself (same
///           memory, type, shape and strides: in place) or overlaps no input; f32, bf16 or f16 each
/// The bits of a row depend on nothing but the row (docs/arithmetic.md). A row whose sum overflows
/// becomes NaN, one whose squares overflow the bias. In parallel in the caller's tbb::task_arena.
/// Throws Error{invalid_argument} naming the argument and its values before anything is written.
/// Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.
RAPT_API void layer_norm(TensorView<const void, 4> x, TensorView<void, 4> y,
                         const LayerNormOptions& options = {});

/// The same for rows [rows, width].
RAPT_API void layer_norm(TensorView<const void, 2> x, TensorView<void, 2> y,
                         const LayerNormOptions& options = {});

}  // namespace rapt
