// What functions of rows ask of their input and output, whatever they compute.
#pragma once

#include "core/views.hpp"
#include "ops/row_parts.hpp"
#include "rapt/tensor.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace rapt {

/// x and y have the same shape, dense rows and separate memory, unless y is x itself. Returns the
/// bytes of y.
template <int Rank>
core::MemoryRange check_rows(const TensorView<const float, Rank>& x,
                             const TensorView<float, Rank>& y) {
  const core::MemoryRange read = core::check_input("x", x);
  const core::MemoryRange written = core::check_output("y", y);
  for (std::size_t i = 0; i < x.shape.size(); ++i) {
    if (y.shape[i] == x.shape[i]) continue;
    core::fail("y: extent of dimension " + std::to_string(i) + " " + std::to_string(y.shape[i]) +
               " does not match x's " + std::to_string(x.shape[i]));
  }
  const bool in_place = y.data == x.data && y.strides == x.strides;
  if (!in_place) core::check_disjoint("y", written, "x", read);
  return written;
}

/// Rows [rows, width] as [1, 1, rows, width].
template <class T>
TensorView<T, 4> with_heads(const TensorView<T, 2>& view) {
  return {view.data, std::array<std::int64_t, 4>{1, 1, view.shape[0], view.shape[1]},
          std::array<std::int64_t, 4>{0, 0, view.strides[0], view.strides[1]}};
}

/// The first row of a part of rows.
template <class T>
T* first_row(const TensorView<T, 4>& view, const RowPart& part) {
  return view.data + part.batch * view.strides[0] + part.head * view.strides[1] +
         part.begin * view.strides[2];
}

}  // namespace rapt
