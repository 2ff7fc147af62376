// Softmax of rows.
#pragma once

#include "rapt/export.hpp"
#include "rapt/tensor.hpp"

namespace rapt {

/// y_d = exp(x_d) / sum_e exp(x_e), for each row of the last dimension.
///   x, y    [batch, heads, tokens, width], any strides, last dimension dense; y is x itself (same
///           memory, type, shape and strides: in place) or does not overlap x; f32, bf16 or f16
///           each
/// An element of -inf gives 0, and a row of nothing else zeros. A row with a NaN or with +inf
/// becomes NaN. The bits of a row depend on nothing but the row (docs/arithmetic.md). In parallel
/// in the caller's tbb::task_arena. Throws Error{invalid_argument} naming the argument and its
/// values before anything is written.
RAPT_API void softmax(TensorView<const void, 4> x, TensorView<void, 4> y);

/// The same for rows [rows, width].
RAPT_API void softmax(TensorView<const void, 2> x, TensorView<void, 2> y);

}  // namespace rapt
