// layer_norm(): validate, then normalise the rows in parallel.
#include "rapt/layer_norm.hpp"

#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "core/sizes.hpp"
#include "dispatch/dispatch.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "ops/float_rows.hpp"
#include "ops/rms_norm.hpp"
#include "ops/row_views.hpp"

#include <algorithm>
#include <limits>

namespace rapt {
namespace {

/// The rows of a shape whose extents were checked; a number that no span has if they are too many.
std::int64_t count_rows(std::span<const std::int64_t> shape) {
  const auto outer = shape.first(shape.size() - 1);
  if (std::ranges::find(outer, 0) != outer.end()) return 0;
  return checked_product(outer).value_or(std::numeric_limits<std::int64_t>::max());
}

/// Outputs overlap neither each other nor an input; x is not among them, since y may be x.
template <int Rank>
void check_apart(const core::MemoryRange& y, const TensorView<const void, Rank>& x,
                 const LayerNormOptions& options) {
  const auto check = [&](const char* name, const core::MemoryRange& written) {
    core::check_disjoint(name, written, "weight", options.weight);
    core::check_disjoint(name, written, "bias", options.bias);
  };
  check("y", y);
  const core::MemoryRange mean = core::memory_range(options.mean);
  const core::MemoryRange inverse = core::memory_range(options.inverse_deviation);
  check("mean", mean);
  check("inverse_deviation", inverse);
  core::check_disjoint("mean", mean, "x", x);
  core::check_disjoint("mean", mean, "y", y);
  core::check_disjoint("inverse_deviation", inverse, "x", x);
  core::check_disjoint("inverse_deviation", inverse, "y", y);
  core::check_disjoint("inverse_deviation", inverse, "mean", mean);
}

template <int Rank>
void check_arguments(const TensorView<const void, Rank>& x, const TensorView<void, Rank>& y,
                     const LayerNormOptions& options) {
  const core::MemoryRange written = check_rows(x, y);
  const std::int64_t width = x.shape.back(), rows = count_rows(x.shape);
  check_norm_weight("weight", options.weight, "x's width", width);
  check_norm_weight("bias", options.bias, "x's width", width);
  check_epsilon("epsilon", options.epsilon);
  check_norm_weight("mean", options.mean, "x's rows", rows);
  check_norm_weight("inverse_deviation", options.inverse_deviation, "x's rows", rows);
  check_apart(written, x, options);
}

/// The elements of a span from `first` on; null if it is empty.
template <class T>
T* from(std::span<T> values, std::int64_t first = 0) {
  return values.empty() ? nullptr : values.data() + first;
}

void compute(TensorView<const void, 4> x, TensorView<void, 4> y, const LayerNormOptions& options) {
  // A row without elements has a mean, too: NaN.
  if (!core::has_elements(x) && options.mean.empty() && options.inverse_deviation.empty()) return;
  x = core::without_idle_strides(x);
  y = core::without_idle_strides(y);
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  const core::DefaultArithmetic mode;
  for_float_rows(kernels, x, y, [&](const RowPart& part, const FloatRows& rows) {
    const std::int64_t row = (part.batch * x.shape[1] + part.head) * x.shape[2] + part.begin;
    kernels.layer_norm({.x = rows.x,
                        .x_stride = rows.x_stride,
                        .y = rows.y,
                        .y_stride = rows.y_stride,
                        .rows = part.end - part.begin,
                        .width = x.shape[3],
                        .epsilon = options.epsilon,
                        .weight = from(options.weight),
                        .bias = from(options.bias),
                        .mean = from(options.mean, row),
                        .inverse_deviation = from(options.inverse_deviation, row)});
  });
}

}  // namespace

void layer_norm(TensorView<const void, 4> x, TensorView<void, 4> y,
                const LayerNormOptions& options) try {
  check_arguments(x, y, options);
  compute(x, y, options);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void layer_norm(TensorView<const void, 2> x, TensorView<void, 2> y,
                const LayerNormOptions& options) try {
  check_arguments(x, y, options);
  compute(with_heads(x), with_heads(y), options);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
