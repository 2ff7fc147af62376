// What functions of rows ask of their input and output, whatever they compute.
#pragma once

#include "core/views.hpp"
#include "rapt/tensor.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace rapt {

/// Whether y is x: the same elements, in place.
template <int Rank>
bool is_in_place(const TensorView<const void, Rank>& x, const TensorView<void, Rank>& y) {
  return y.data == x.data && y.dtype == x.dtype && y.strides == x.strides;
}

/// x and y have the same shape, dense rows and separate memory, unless y is x itself. Returns the
/// bytes of y.
template <int Rank>
core::MemoryRange check_rows(const TensorView<const void, Rank>& x,
                             const TensorView<void, Rank>& y) {
  const core::MemoryRange read = core::check_input("x", x);
  const core::MemoryRange written = core::check_output("y", y);
  for (std::size_t i = 0; i < x.shape.size(); ++i) {
    if (y.shape[i] == x.shape[i]) continue;
    core::fail("y: extent of dimension " + std::to_string(i) + " " + std::to_string(y.shape[i]) +
               " does not match x's " + std::to_string(x.shape[i]));
  }
  if (!is_in_place(x, y)) core::check_disjoint("y", written, "x", read);
  return written;
}

/// Rows [rows, width] as [1, 1, rows, width].
template <class Void>
TensorView<Void, 4> with_heads(const TensorView<Void, 2>& view) {
  return {view.data,
          view.dtype,
          {1, 1, view.shape[0], view.shape[1]},
          {0, 0, view.strides[0], view.strides[1]}};
}

}  // namespace rapt
