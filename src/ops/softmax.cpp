// softmax(): validate, then the rows in parallel.
#include "rapt/softmax.hpp"

#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "dispatch/dispatch.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "ops/float_rows.hpp"
#include "ops/row_views.hpp"

namespace rapt {

namespace {

void compute(const TensorView<const void, 4>& x, const TensorView<void, 4>& y) {
  if (!core::has_elements(x)) return;
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  const core::DefaultArithmetic mode;
  for_float_rows(kernels, x, y, [&](const RowPart& part, const FloatRows& rows) {
    kernels.softmax_rows({.x = rows.x,
                          .x_stride = rows.x_stride,
                          .y = rows.y,
                          .y_stride = rows.y_stride,
                          .rows = part.end - part.begin,
                          .width = x.shape[3]});
  });
}

}  // namespace

void softmax(TensorView<const void, 4> x, TensorView<void, 4> y) try {
  check_rows(x, y);
  compute(x, y);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void softmax(TensorView<const void, 2> x, TensorView<void, 2> y) try {
  check_rows(x, y);
  compute(with_heads(x), with_heads(y));
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
