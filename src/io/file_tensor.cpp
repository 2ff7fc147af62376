// Element types, views of tensors where they lie, and copies widened to float.
#include <bit>
#include <cstring>
#include <new>

#include "core/counted.hpp"
#include "io/malformed.hpp"
#include "rapt/error.hpp"
#include "rapt/weights_file.hpp"

namespace rapt {
namespace {

static_assert(std::endian::native == std::endian::little, "files hold little-endian elements");

struct Half {
  std::uint16_t bits;
  explicit operator float() const {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
    const std::uint32_t exponent = bits >> 10 & 0x1f;
    const std::uint32_t fraction = bits & 0x3ff;
    if (exponent == 0) {
      // Zero or subnormal: fraction * 2^-24, a normal f32, so exact.
      const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
      return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
    }
    const std::uint32_t widened = exponent == 31 ? 255 : exponent + (127 - 15);
    return std::bit_cast<float>(sign | widened << 23 | fraction << 13);
  }
};

struct Bfloat16 {
  std::uint16_t bits;
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

/// Any byte but 0 is true. Read as a byte, because a bool that is neither 0 nor 1 has no value in
/// C++.
struct Boolean {
  std::uint8_t byte;
  explicit operator float() const { return byte != 0 ? 1.0f : 0.0f; }
};

/// to[i] = float(element i of `from`), which may lie at any address.
template <class T>
void widen(const std::byte* from, std::vector<float>& to) {
  for (std::size_t i = 0; i < to.size(); ++i) {
    T element;
    std::memcpy(&element, from + i * sizeof(T), sizeof(T));
    to[i] = static_cast<float>(element);
  }
}

std::vector<float> zeros(const std::string& name, std::size_t count) {
  try {
    return std::vector<float>(count);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory,
                "tensor " + io::quote(name) + ": no memory for " + core::counted(count, "float"));
  }
}

}  // namespace

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "f64";
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
    case DType::i64:
      return "i64";
    case DType::i32:
      return "i32";
    case DType::i16:
      return "i16";
    case DType::i8:
      return "i8";
    case DType::u64:
      return "u64";
    case DType::u32:
      return "u32";
    case DType::u16:
      return "u16";
    case DType::u8:
      return "u8";
    case DType::boolean:
      return "boolean";
    case DType::other:
      break;
  }
  return "other";
}

std::size_t dtype_size(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
    case DType::u64:
      return 8;
    case DType::f32:
    case DType::i32:
    case DType::u32:
      return 4;
    case DType::f16:
    case DType::bf16:
    case DType::i16:
    case DType::u16:
      return 2;
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      return 1;
    case DType::other:
      break;
  }
  return 0;
}

template <int Rank>
requires(Rank >= 1 && Rank <= 5) TensorView<const float, Rank> FileTensor::view()
const {
  const auto refuse = [this](const std::string& why) {
    throw Error(ErrorCode::invalid_argument, "tensor " + io::quote(name) + ": " + why);
  };
  if (dtype != DType::f32) {
    refuse("type " + std::string(dtype_name(dtype)) + " cannot be viewed as f32");
  }
  if (shape.size() != static_cast<std::size_t>(Rank)) {
    refuse("shape " + io::shape_text(shape) + " has rank " + std::to_string(shape.size()) +
           ", not " + std::to_string(Rank));
  }
  if (const auto past = reinterpret_cast<std::uintptr_t>(data) % alignof(float); past != 0) {
    refuse("the data lies " + core::counted(past, "byte") +
           " past an address that is aligned for float; copy_as_float reads it");
  }
  typename TensorView<const float, Rank>::Index extents{};
  for (std::size_t i = 0; i < extents.size(); ++i) extents[i] = shape[i];
  return {reinterpret_cast<const float*>(data), extents};
}

template TensorView<const float, 1> FileTensor::view<1>() const;
template TensorView<const float, 2> FileTensor::view<2>() const;
template TensorView<const float, 3> FileTensor::view<3>() const;
template TensorView<const float, 4> FileTensor::view<4>() const;
template TensorView<const float, 5> FileTensor::view<5>() const;

std::vector<float> FileTensor::copy_as_float() const {
  if (dtype == DType::other) {
    throw Error(ErrorCode::invalid_argument,
                "tensor " + io::quote(name) + ": its element type cannot be read as float");
  }
  std::vector<float> floats = zeros(name, nbytes / dtype_size(dtype));
  switch (dtype) {
    case DType::f64:
      widen<double>(data, floats);
      break;
    case DType::f32:
      widen<float>(data, floats);
      break;
    case DType::f16:
      widen<Half>(data, floats);
      break;
    case DType::bf16:
      widen<Bfloat16>(data, floats);
      break;
    case DType::i64:
      widen<std::int64_t>(data, floats);
      break;
    case DType::i32:
      widen<std::int32_t>(data, floats);
      break;
    case DType::i16:
      widen<std::int16_t>(data, floats);
      break;
    case DType::i8:
      widen<std::int8_t>(data, floats);
      break;
    case DType::u64:
      widen<std::uint64_t>(data, floats);
      break;
    case DType::u32:
      widen<std::uint32_t>(data, floats);
      break;
    case DType::u16:
      widen<std::uint16_t>(data, floats);
      break;
    case DType::u8:
      widen<std::uint8_t>(data, floats);
      break;
    case DType::boolean:
      widen<Boolean>(data, floats);
      break;
    case DType::other:
      break;
  }
  return floats;
}

}  // namespace rapt
