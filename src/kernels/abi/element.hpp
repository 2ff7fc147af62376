// The types of elements in memory, as rapt::DType. Part of kernel_set.hpp.
#pragma once

#include <cstdint>

namespace rapt::kernels {

/// The first enumerators of rapt::DType, with its values. Bytes are those of packed pages, and have
/// a scale for each row.
enum class ElementType : std::uint8_t { f32, bf16, f16, i8 };

// Their bits; a float is a float.
struct Bf16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};

/// Rows of `width` elements, converted: of any type to f32, exactly; or of f32 to any type, each
/// rounded once to nearest even, NaNs to one quiet NaN. Strides are in elements.
struct ConvertArgs {
  const void* from;
  std::int64_t from_stride;
  void* to;
  std::int64_t to_stride;
  std::int64_t rows, width;
  ElementType type;  ///< the one that may not be f32
};

}  // namespace rapt::kernels
