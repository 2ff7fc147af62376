// Elements of tensors of any type, one at a time: each widened exactly, or rounded once.
#pragma once

#include "rapt/tensor.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rapt::reference {

template <class Void, int Rank, class... I>
std::int64_t offset_of(const TensorView<Void, Rank>& view, I... index) {
  const std::int64_t at[] = {index...};
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < Rank; ++i) offset += at[i] * view.strides[i];
  return offset;
}

template <int Rank, class... I>
float element(const TensorView<const void, Rank>& view, I... index) {
  const void* const at = view.at(offset_of(view, index...));
  if (view.dtype == DType::bf16) return static_cast<float>(*static_cast<const bfloat16*>(at));
  if (view.dtype == DType::f16) return static_cast<float>(*static_cast<const float16*>(at));
  return *static_cast<const float*>(at);
}

template <int Rank, class... I>
void set_element(const TensorView<void, Rank>& view, float x, I... index) {
  void* const at = view.at(offset_of(view, index...));
  if (view.dtype == DType::bf16) {
    *static_cast<bfloat16*>(at) = bfloat16(x);
  } else if (view.dtype == DType::f16) {
    *static_cast<float16*>(at) = float16(x);
  } else {
    *static_cast<float*>(at) = x;
  }
}

/// The elements of the last dimension.
inline std::vector<float> row_elements(const TensorView<const void, 4>& view, std::int64_t batch,
                                       std::int64_t head, std::int64_t token) {
  std::vector<float> row(static_cast<std::size_t>(view.shape[3]));
  for (std::size_t d = 0; d < row.size(); ++d) {
    row[d] = element(view, batch, head, token, static_cast<std::int64_t>(d));
  }
  return row;
}

}  // namespace rapt::reference
