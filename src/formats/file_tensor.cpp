// Views of tensors in place, and copies widened to float.
#include "core/counted.hpp"
#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "formats/malformed.hpp"
#include "rapt/error.hpp"
#include "rapt/weights_file.hpp"

#include <bit>
#include <cstring>
#include <new>

namespace rapt {
namespace {

static_assert(std::endian::native == std::endian::little, "files hold little-endian elements");

std::vector<float> zeros(const std::string& name, std::size_t count) {
  try {
    return std::vector<float>(count);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory,
                "tensor " + io::quote(name) + ": no memory for " + core::counted(count, "float"));
  }
}

[[noreturn]] void refuse(const FileTensor& tensor, const std::string& why) {
  throw Error(
      ErrorCode::invalid_argument,
      (tensor.name.empty() ? "the tensor: " : "tensor " + io::quote(tensor.name) + ": ") + why);
}

/// The type as the file spells it, if known.
std::string type_of(const FileTensor& tensor) {
  return std::string(tensor.type_word.empty() ? dtype_name(tensor.dtype) : tensor.type_word);
}

/// Converts each element to float; the elements may have any alignment.
template <class T>
std::vector<float> widened(const FileTensor& tensor) {
  std::vector<float> floats = zeros(tensor.name, tensor.nbytes / sizeof(T));
  for (std::size_t i = 0; i < floats.size(); ++i) {
    T element;
    std::memcpy(&element, tensor.data + i * sizeof(T), sizeof(T));
    floats[i] = static_cast<float>(element);
  }
  return floats;
}

std::vector<float> integers(const FileTensor& tensor) {
  switch (tensor.dtype) {
    case DType::i64:
      return widened<std::int64_t>(tensor);
    case DType::i32:
      return widened<std::int32_t>(tensor);
    case DType::i16:
      return widened<std::int16_t>(tensor);
    case DType::i8:
      return widened<std::int8_t>(tensor);
    case DType::u64:
      return widened<std::uint64_t>(tensor);
    case DType::u32:
      return widened<std::uint32_t>(tensor);
    case DType::u16:
      return widened<std::uint16_t>(tensor);
    case DType::u8:
      return widened<std::uint8_t>(tensor);
    default:
      refuse(tensor, type_of(tensor) + " elements are not integers, which a scale is for");
  }
}

/// The elements in place, of a type that views may have.
template <int Rank>
TensorView<const void, Rank> in_place(const FileTensor& tensor) {
  const std::vector<std::int64_t>& shape = tensor.shape;
  if (shape.size() != static_cast<std::size_t>(Rank)) {
    refuse(tensor, "shape " + io::shape_text(shape) + " has rank " + std::to_string(shape.size()) +
                       ", not " + std::to_string(Rank));
  }
  const std::size_t past = reinterpret_cast<std::uintptr_t>(tensor.data) % dtype_size(tensor.dtype);
  if (past != 0) {
    const std::string type(tensor.dtype == DType::f32 ? "float" : dtype_name(tensor.dtype));
    refuse(tensor, "the data lies " + core::counted(past, "byte") +
                       " past an address that is aligned for " + type + "; copy_as_float reads it");
  }
  typename TensorView<const void, Rank>::Index extents{};
  for (std::size_t i = 0; i < extents.size(); ++i) extents[i] = shape[i];
  return {tensor.data, tensor.dtype, extents};
}

}  // namespace

template <int Rank>
requires(Rank >= 1 && Rank <= 5) TensorView<const float, Rank> FileTensor::view()
const try {
  if (dtype != DType::f32) {
    refuse(*this, "type " + type_of(*this) + " cannot be viewed as f32");
  }
  return in_place<Rank>(*this).template as<const float>();
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

template <int Rank>
requires(Rank >= 1 && Rank <= 5) TensorView<const void, Rank> FileTensor::typed_view()
const try {
  if (!core::is_tensor_type(dtype)) {
    refuse(*this, "type " + type_of(*this) + " is none of f32, bf16 and f16");
  }
  return in_place<Rank>(*this);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

template TensorView<const float, 1> FileTensor::view<1>() const;
template TensorView<const float, 2> FileTensor::view<2>() const;
template TensorView<const float, 3> FileTensor::view<3>() const;
template TensorView<const float, 4> FileTensor::view<4>() const;
template TensorView<const float, 5> FileTensor::view<5>() const;
template TensorView<const void, 1> FileTensor::typed_view<1>() const;
template TensorView<const void, 2> FileTensor::typed_view<2>() const;
template TensorView<const void, 3> FileTensor::typed_view<3>() const;
template TensorView<const void, 4> FileTensor::typed_view<4>() const;
template TensorView<const void, 5> FileTensor::typed_view<5>() const;

std::vector<float> FileTensor::copy_as_float() const try {
  const core::DefaultArithmetic mode;
  switch (dtype) {
    case DType::f64:
      return widened<double>(*this);
    case DType::f32:
      return widened<float>(*this);
    case DType::f16:
      return widened<float16>(*this);
    case DType::bf16:
      return widened<bfloat16>(*this);
    default:
      refuse(*this, type_of(*this) +
                        " elements are not floating-point numbers: f64, f32, f16 and bf16 are read "
                        "as they are, integers with their scale");
  }
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

std::vector<float> FileTensor::copy_scaled(std::span<const float> scales) const try {
  const std::size_t rows = shape.empty() ? 1 : static_cast<std::size_t>(shape.front());
  if (scales.size() != 1 && scales.size() != rows) {
    refuse(*this, core::counted(scales.size(), "scale") + " for the shape " +
                      io::shape_text(shape) +
                      ": one for all or one for each index of the first "
                      "dimension was expected");
  }
  const core::DefaultArithmetic mode;
  std::vector<float> floats = integers(*this);
  // A tensor without rows has no scale per row.
  const std::size_t per_scale = floats.empty() ? 0 : floats.size() / scales.size();
  for (std::size_t i = 0; i < floats.size(); ++i) {
    floats[i] *= scales[i / per_scale];  // NOLINT(clang-analyzer-core.DivideZero): not empty here
  }
  return floats;
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
