// apply_rope(): validate, then rotate the rows of each head in parallel.
#include "rapt/rope.hpp"

#include "core/counted.hpp"
#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "dispatch/dispatch.hpp"
#include "ops/float_rows.hpp"
#include "ops/rotation.hpp"
#include "ops/row_views.hpp"
#include "ops/validate_rope.hpp"

#include <string>

namespace rapt {
namespace {

using core::counted;
using core::fail;
using Positions = TensorView<const std::int64_t, 2>;

constexpr const char* kDimensions[] = {"batch", "heads", "tokens", "head_dim"};

void check_tensors(const TensorView<const void, 4>& x, const TensorView<void, 4>& y,
                   const RopeView& table) {
  const core::MemoryRange read = core::check_input("x", x);
  const core::MemoryRange written = core::check_output("y", y);
  for (std::size_t i = 0; i < 4; ++i) {
    core::check_extent((std::string("y: ") + kDimensions[i]).c_str(), y.shape[i], "x's",
                       x.shape[i]);
  }
  if (table.cos.data == nullptr && table.sin.data == nullptr) fail("table: is empty");
  check_rope_table("table", table, x.shape[3]);
  if (!is_in_place(x, y)) core::check_disjoint("y", written, "x", read);
  core::check_disjoint("y", written, "table.cos", table.cos);
  core::check_disjoint("y", written, "table.sin", table.sin);
}

void rotate(const TensorView<const void, 4>& x, const TensorView<void, 4>& y, const RopeView& table,
            const Positions& positions, std::int64_t first_position) {
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  const core::DefaultArithmetic mode;
  for_float_rows(kernels, x, y, [&](const RowPart& part, const FloatRows& rows) {
    const std::int64_t b = positions.shape[0] == 1 ? 0 : part.batch;
    const std::int64_t* given =
        positions.data == nullptr
            ? nullptr
            : positions.data + b * positions.strides[0] + part.begin * positions.strides[1];
    kernels.rotate({.x = rows.x,
                    .x_stride = rows.x_stride,
                    .y = rows.y,
                    .y_stride = rows.y_stride,
                    .rows = part.end - part.begin,
                    .head_dim = x.shape[3],
                    .rotation = rotation_of(table),
                    .positions = given,
                    .position_stride = positions.strides[1],
                    .first_position = first_position + part.begin});
  });
}

}  // namespace

void apply_rope(TensorView<const void, 4> x, TensorView<void, 4> y, const RopeView& table,
                std::int64_t first_position) try {
  check_tensors(x, y, table);
  const std::int64_t tokens = x.shape[2], rows = table.cos.shape[0];
  if (!core::has_elements(x)) return;
  if (first_position < 0 || tokens > rows || first_position > rows - tokens) {
    fail("first_position: " + std::to_string(first_position) + " with " + counted(tokens, "token") +
         " is not within the table's " + counted(rows, "row"));
  }
  rotate(x, y, table, {}, first_position);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void apply_rope(TensorView<const void, 4> x, TensorView<void, 4> y, const RopeView& table,
                TensorView<const std::int64_t, 2> positions) try {
  check_tensors(x, y, table);
  check_positions_shape("positions", positions, x.shape[0], x.shape[2]);
  if (!core::has_elements(x)) return;  // nothing to rotate, whatever the positions
  for (std::int64_t b = 0; b < x.shape[0]; ++b) {
    check_positions("positions", positions, {b, 0, x.shape[2]}, b, table.cos.shape[0]);
  }
  core::check_disjoint("y", core::memory_range(y), "positions", positions);
  rotate(x, y, table, positions, 0);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
