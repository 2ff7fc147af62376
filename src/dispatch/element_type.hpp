// The kernels' name of a type of elements.
#pragma once

#include "kernels/abi/element.hpp"
#include "rapt/dtype.hpp"

namespace rapt {

constexpr kernels::ElementType element_type(DType type) {
  return static_cast<kernels::ElementType>(type);
}

static_assert(element_type(DType::f32) == kernels::ElementType::f32);
static_assert(element_type(DType::bf16) == kernels::ElementType::bf16);
static_assert(element_type(DType::f16) == kernels::ElementType::f16);
static_assert(element_type(DType::i8) == kernels::ElementType::i8);

}  // namespace rapt
