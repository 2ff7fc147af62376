// rms_norm(): validate, then normalise the rows in parallel.
#include "ops/rms_norm.hpp"

#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "dispatch/dispatch.hpp"
#include "ops/row_parts.hpp"
#include "ops/row_views.hpp"

namespace rapt {
namespace {

template <int Rank>
void check_arguments(const TensorView<const float, Rank>& x, const TensorView<float, Rank>& y,
                     std::span<const float> weight, float epsilon) {
  const core::MemoryRange written = check_rows(x, y);
  check_norm_weight("weight", weight, "x's width", x.shape.back());
  check_epsilon("epsilon", epsilon);
  core::check_disjoint("y", written, "weight", weight);
}

}  // namespace

void rms_norm(TensorView<const float, 4> x, TensorView<float, 4> y, std::span<const float> weight,
              float epsilon) try {
  check_arguments(x, y, weight, epsilon);
  if (x.size() == 0) return;
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  const core::DefaultArithmetic mode;
  for_row_parts(x.shape, [&](const RowPart& part) {
    kernels.normalize({.x = first_row(x, part),
                       .x_stride = x.strides[2],
                       .y = first_row(y, part),
                       .y_stride = y.strides[2],
                       .rows = part.end - part.begin,
                       .width = x.shape[3],
                       .norm = row_norm(weight, epsilon)});
  });
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void rms_norm(TensorView<const float, 2> x, TensorView<float, 2> y, std::span<const float> weight,
              float epsilon) try {
  check_arguments(x, y, weight, epsilon);
  rms_norm(with_heads(x), with_heads(y), weight, epsilon);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
