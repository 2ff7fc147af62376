// A table of angles as the kernels take it.
#pragma once

#include "kernels/abi/rows.hpp"
#include "rapt/rope.hpp"

namespace rapt {

/// A table without data rotates nothing.
inline kernels::Rotation rotation_of(const RopeView& table) {
  kernels::Rotation rotation{};
  if (table.cos.data == nullptr) return rotation;
  rotation.cos = table.cos.data;
  rotation.sin = table.sin.data;
  rotation.cos_stride = table.cos.strides[0];
  rotation.sin_stride = table.sin.strides[0];
  rotation.pairs = table.cos.shape[1];
  rotation.interleaved = table.style == Rope::interleaved ? 1 : 0;
  return rotation;
}

}  // namespace rapt
