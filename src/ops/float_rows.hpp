// Rows of any type for functions of f32: widened before, rounded after.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "ops/row_parts.hpp"
#include "rapt/tensor.hpp"

#include <algorithm>
#include <cstdint>

namespace rapt {

/// The rows of a part as floats. y may be x.
struct FloatRows {
  const float* x;
  std::int64_t x_stride;
  float* y;
  std::int64_t y_stride;
};

/// The rows of a part, of which x or y is not f32: x widened to y itself or to this thread's
/// memory. Throws Error{out_of_memory}.
FloatRows widened_rows(const kernels::KernelSet& kernels, const TensorView<const void, 4>& x,
                       const TensorView<void, 4>& y, const RowPart& part);

/// Rounds what was computed of widened_rows() to y.
void store_rows(const kernels::KernelSet& kernels, const FloatRows& rows,
                const TensorView<void, 4>& y, const RowPart& part);

/// Floats that are converted at once: 16 KiB, half of the smallest first-level cache.
inline constexpr std::int64_t kFloatsAtOnce = 4096;

/// Calls run(part, rows), which computes rows.y from rows.x, for all rows of x and y as
/// for_row_parts() divides them.
template <class F>
void for_float_rows(const kernels::KernelSet& kernels, const TensorView<const void, 4>& x,
                    const TensorView<void, 4>& y, const F& run) {
  const bool converts = x.dtype != DType::f32 || y.dtype != DType::f32;
  for_row_parts(x.shape, [&](const RowPart& part) {
    if (!converts) {
      const std::int64_t x_offset = row_offset(x.strides, part);
      const std::int64_t y_offset = row_offset(y.strides, part);
      run(part, FloatRows{static_cast<const float*>(x.data) + x_offset, x.strides[2],
                          static_cast<float*>(y.data) + y_offset, y.strides[2]});
      return;
    }
    const std::int64_t count = kFloatsAtOnce / std::max<std::int64_t>(x.shape[3], 1);
    for (RowPart some = part; some.begin < part.end; some.begin = some.end) {
      some.end = std::min(part.end, some.begin + std::max<std::int64_t>(count, 1));
      const FloatRows rows = widened_rows(kernels, x, y, some);
      run(some, rows);
      store_rows(kernels, rows, y, some);
    }
  });
}

}  // namespace rapt
