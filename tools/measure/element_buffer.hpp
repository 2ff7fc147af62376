// Elements of a type known at run time, in memory as FloatBuffer has it.
#pragma once

#include "measure/float_buffer.hpp"
#include "rapt/tensor.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace rapt::tools {

class ElementBuffer {
 public:
  ElementBuffer() = default;

  /// The floats, rounded to `type`: f32, bf16 or f16.
  ElementBuffer(FloatBuffer floats, DType type) : type_(type), size_(floats.size()) {
    if (type == DType::f32) {
      memory_ = std::move(floats);
      return;
    }
    memory_ = FloatBuffer((size_ + 1) / 2);
    if (type == DType::bf16) {
      round<bfloat16>(floats);
    } else {
      round<float16>(floats);
    }
  }

  template <std::size_t Rank>
  TensorView<void, static_cast<int>(Rank)> view(const std::int64_t (&shape)[Rank]) {
    return {memory_.data(), type_, std::to_array(shape)};
  }

  /// The elements as floats, into `floats` if they are not.
  std::span<const float> widened(FloatBuffer& floats) const {
    if (type_ == DType::f32) return memory_.values();
    if (floats.size() != size_) floats = FloatBuffer(size_);
    if (type_ == DType::bf16) {
      widen<bfloat16>(floats);
    } else {
      widen<float16>(floats);
    }
    return floats.values();
  }

 private:
  template <class T>
  void round(const FloatBuffer& floats) {
    T* const to = reinterpret_cast<T*>(memory_.data());
    for (std::size_t i = 0; i < size_; ++i) to[i] = T(floats.data()[i]);
  }
  template <class T>
  void widen(FloatBuffer& floats) const {
    const T* const from = reinterpret_cast<const T*>(memory_.data());
    for (std::size_t i = 0; i < size_; ++i) floats.data()[i] = static_cast<float>(from[i]);
  }

  FloatBuffer memory_;
  DType type_ = DType::f32;
  std::size_t size_ = 0;
};

}  // namespace rapt::tools
