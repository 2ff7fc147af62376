// A table of angles and positions as the kernels take them.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "rapt/rope.hpp"

namespace rapt {

/// Rows of one sequence, which begin at `row` of batch index b: row i is at positions(b, row + i),
/// or without positions at first_position + i. A table without data rotates nothing.
inline kernels::Rotation rotation_of(const RopeView& table,
                                     const TensorView<const std::int64_t, 2>& positions,
                                     std::int64_t b, std::int64_t row,
                                     std::int64_t first_position) {
  kernels::Rotation rotation{};
  if (table.cos.data == nullptr) return rotation;
  rotation.cos = table.cos.data;
  rotation.sin = table.sin.data;
  rotation.cos_stride = table.cos.strides[0];
  rotation.sin_stride = table.sin.strides[0];
  rotation.pairs = table.cos.shape[1];
  rotation.interleaved = table.style == Rope::interleaved ? 1 : 0;
  rotation.first_position = first_position;
  if (positions.data != nullptr) {
    rotation.positions = positions.data + row * positions.strides[1] +
                         (positions.shape[0] == 1 ? 0 : b * positions.strides[0]);
    rotation.position_stride = positions.strides[1];
  }
  return rotation;
}

}  // namespace rapt
