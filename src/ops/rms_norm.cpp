// rms_norm(): validate, then normalise the rows in parallel.
#include "ops/rms_norm.hpp"

#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "dispatch/dispatch.hpp"
#include "ops/row_parts.hpp"

namespace rapt {
namespace {

template <int Rank>
void check_tensors(const TensorView<const float, Rank>& x, const TensorView<float, Rank>& y,
                   std::span<const float> weight, float epsilon) {
  const core::MemoryRange read = core::check_input("x", x);
  const core::MemoryRange written = core::check_output("y", y);
  for (std::size_t i = 0; i < x.shape.size(); ++i) {
    if (y.shape[i] == x.shape[i]) continue;
    core::fail("y: extent of dimension " + std::to_string(i) + " " + std::to_string(y.shape[i]) +
               " does not match x's " + std::to_string(x.shape[i]));
  }
  check_norm_weight("weight", weight, "x's width", x.shape.back());
  check_epsilon("epsilon", epsilon);
  const bool in_place = y.data == x.data && y.strides == x.strides;
  if (!in_place) core::check_disjoint("y", written, "x", read);
  core::check_disjoint("y", written, "weight", weight);
}

}  // namespace

void rms_norm(TensorView<const float, 4> x, TensorView<float, 4> y, std::span<const float> weight,
              float epsilon) try {
  check_tensors(x, y, weight, epsilon);
  if (x.size() == 0) return;
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  const core::DefaultArithmetic mode;
  for_row_parts(x.shape, [&](const RowPart& part) {
    const auto first = [&part](const auto& view) {
      return view.data + part.batch * view.strides[0] + part.head * view.strides[1] +
             part.begin * view.strides[2];
    };
    kernels.normalize({.x = first(x),
                       .x_stride = x.strides[2],
                       .y = first(y),
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
  check_tensors(x, y, weight, epsilon);
  const auto rows_of = [](const auto& view) {
    return std::array<std::array<std::int64_t, 4>, 2>{
        {{1, 1, view.shape[0], view.shape[1]}, {0, 0, view.strides[0], view.strides[1]}}};
  };
  const auto [x_shape, x_strides] = rows_of(x);
  const auto [y_shape, y_strides] = rows_of(y);
  rms_norm({x.data, x_shape, x_strides}, {y.data, y_shape, y_strides}, weight, epsilon);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
