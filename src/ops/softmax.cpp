// softmax(): validate, then the rows in parallel.
#include "rapt/softmax.hpp"

#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "dispatch/dispatch.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "ops/row_parts.hpp"
#include "ops/row_views.hpp"

namespace rapt {

void softmax(TensorView<const float, 4> x, TensorView<float, 4> y) try {
  check_rows(x, y);
  if (x.size() == 0) return;
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  const core::DefaultArithmetic mode;
  for_row_parts(x.shape, [&](const RowPart& part) {
    kernels.softmax_rows({.x = first_row(x, part),
                          .x_stride = x.strides[2],
                          .y = first_row(y, part),
                          .y_stride = y.strides[2],
                          .rows = part.end - part.begin,
                          .width = x.shape[3]});
  });
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void softmax(TensorView<const float, 2> x, TensorView<float, 2> y) try {
  check_rows(x, y);
  softmax(with_heads(x), with_heads(y));
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
