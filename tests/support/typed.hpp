// Floats in memory of another type: the same views over narrowed copies of their storage.
#pragma once

#include "rapt/tensor.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace rapt::test {

/// The bits of x as an element of bf16 or f16.
inline std::uint16_t narrow_bits(float x, DType type) {
  return type == DType::bf16 ? bfloat16(x).bits : float16(x).bits;
}

inline float widened_bits(std::uint16_t bits, DType type) {
  if (type == DType::bf16) {
    bfloat16 x;
    x.bits = bits;
    return static_cast<float>(x);
  }
  float16 x;
  x.bits = bits;
  return static_cast<float>(x);
}

/// Rounds every float of a storage to a type.
inline void round_to(DType type, std::vector<float>& storage) {
  if (type == DType::f32) return;
  for (float& x : storage) x = widened_bits(narrow_bits(x, type), type);
}

/// The view of `floats`, which points into `storage`, with elements of `type`; those of 16 bits are
/// in `memory`.
template <int Rank>
TensorView<const void, Rank> typed_view(const TensorView<float, Rank>& floats,
                                        const std::vector<float>& storage, DType type,
                                        std::vector<std::uint16_t>& memory) {
  if (type == DType::f32 || floats.data == nullptr) return floats;
  memory.resize(storage.size());
  for (std::size_t i = 0; i < storage.size(); ++i) memory[i] = narrow_bits(storage[i], type);
  return {memory.data() + (floats.data - storage.data()), type, floats.shape, floats.strides};
}

}  // namespace rapt::test
