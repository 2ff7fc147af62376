// Files of both formats built byte by byte, and helpers for errors about them.
#pragma once

#include "rapt/error.hpp"
#include "rapt/weights_file.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rapt::test {

/// The low `count` bytes of `number`, lowest first.
inline std::string little_endian_bytes(std::uint64_t number, int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(number >> (8 * i) & 0xff);
  return bytes;
}

/// The bytes of an array of plain values in memory.
template <class T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// A .safetensors file: the length of `header`, the header, the data.
inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  return little_endian_bytes(header.size(), 8) + header + data;
}

/// A .npy file whose header is `dict` and a newline.
inline std::string npy_bytes(const std::string& dict, const std::string& data, int major = 1) {
  std::string file = "\x93NUMPY";
  file += static_cast<char>(major);
  file += '\0';
  return file + little_endian_bytes(dict.size() + 1, major == 1 ? 2 : 4) + dict + '\n' + data;
}

/// A copy in memory of exactly its size, so that a sanitizer sees a read of one byte too many.
inline std::vector<std::byte> exact_copy(std::string_view bytes) {
  std::vector<std::byte> copy(bytes.size());
  if (!bytes.empty()) std::memcpy(copy.data(), bytes.data(), bytes.size());
  copy.shrink_to_fit();
  return copy;
}

/// The rapt::Error that `call` throws, if any.
template <class Call>
std::optional<Error> error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

/// Reads every byte of a tensor in every way that its type allows; returns the number of elements
/// read.
inline std::size_t read_whole(const FileTensor& tensor) {
  unsigned sum = 0;
  for (std::size_t i = 0; i < tensor.nbytes; ++i) {
    sum += std::to_integer<unsigned>(tensor.data[i]);
  }
  // Keeps the loop: the reads are the test, the value is unused.
  volatile unsigned sink = sum;
  static_cast<void>(sink);
  switch (tensor.dtype) {
    case DType::other:
    case DType::boolean:
      return tensor.nbytes;
    case DType::f64:
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return tensor.copy_as_float().size();
    default:
      return tensor.copy_scaled(std::vector{1.0f}).size();
  }
}

}  // namespace rapt::test
