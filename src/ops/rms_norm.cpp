// rms_norm(): validate, then normalise the rows in parallel.
#include "ops/rms_norm.hpp"

#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "dispatch/dispatch.hpp"
#include "ops/float_rows.hpp"
#include "ops/row_views.hpp"

namespace rapt {
namespace {

template <int Rank>
void check_arguments(const TensorView<const void, Rank>& x, const TensorView<void, Rank>& y,
                     std::span<const float> weight, float epsilon) {
  const core::MemoryRange written = check_rows(x, y);
  check_norm_weight("weight", weight, "x's width", x.shape.back());
  check_epsilon("epsilon", epsilon);
  core::check_disjoint("y", written, "weight", weight);
}

void compute(const TensorView<const void, 4>& x, const TensorView<void, 4>& y,
             std::span<const float> weight, float epsilon) {
  if (!core::has_elements(x)) return;
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  const core::DefaultArithmetic mode;
  for_float_rows(kernels, x, y, [&](const RowPart& part, const FloatRows& rows) {
    kernels.normalize({.x = rows.x,
                       .x_stride = rows.x_stride,
                       .y = rows.y,
                       .y_stride = rows.y_stride,
                       .rows = part.end - part.begin,
                       .width = x.shape[3],
                       .norm = row_norm(weight, epsilon)});
  });
}

}  // namespace

void rms_norm(TensorView<const void, 4> x, TensorView<void, 4> y, std::span<const float> weight,
              float epsilon) try {
  check_arguments(x, y, weight, epsilon);
  compute(x, y, weight, epsilon);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void rms_norm(TensorView<const void, 2> x, TensorView<void, 2> y, std::span<const float> weight,
              float epsilon) try {
  check_arguments(x, y, weight, epsilon);
  compute(with_heads(x), with_heads(y), weight, epsilon);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
