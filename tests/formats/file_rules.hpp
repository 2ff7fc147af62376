// Rules that every accepted file must satisfy, written independently of the readers.
#pragma once

#include "rapt/weights_file.hpp"

#include <cstddef>
#include <set>
#include <span>
#include <string_view>

namespace rapt::test {

/// Whether the tensor's bytes are those that its type and shape need, in 128 bits: the readers'
/// products may overflow, which must be noticed. An extent of 0 does not exempt the others.
inline bool size_fits(const FileTensor& tensor) {
  __extension__ using Wide = unsigned __int128;
  if (tensor.shape.size() > 64) return false;
  Wide product = 1;
  bool empty = false;
  for (const std::int64_t extent : tensor.shape) {
    if (extent < 0) return false;
    empty = empty || extent == 0;
    if (extent > 0) product *= static_cast<Wide>(extent);
    if (product >> 63 != 0) return false;
  }
  if (empty) product = 0;
  // For the other types only the largest element size is known here: 64 bits.
  if (tensor.dtype == DType::other) return tensor.nbytes <= product * 8;
  return product * dtype_size(tensor.dtype) == tensor.nbytes;
}

/// Whether `tensors` follow one another without gaps from some offset past the header to the end of
/// `file`.
inline bool cover_the_data(std::span<const FileTensor> tensors, std::span<const std::byte> file,
                           std::size_t data_begin) {
  const std::byte* at = file.data() + data_begin;
  for (const FileTensor& tensor : tensors) {
    if (tensor.data != at) return false;
    if (tensor.nbytes > static_cast<std::size_t>(file.data() + file.size() - at)) return false;
    at += tensor.nbytes;
  }
  return at == file.data() + file.size();
}

/// Whether an accepted .safetensors file satisfies the format's rules.
inline bool keeps_rules(std::span<const FileTensor> tensors, std::span<const std::byte> file) {
  std::size_t header = 0;
  for (std::size_t i = 8; i-- > 0;) header = header << 8 | std::to_integer<std::size_t>(file[i]);
  std::set<std::string_view> names;
  for (const FileTensor& tensor : tensors) {
    if (!size_fits(tensor) || !names.insert(tensor.name).second) return false;
  }
  return cover_the_data(tensors, file, 8 + header);
}

/// Whether an accepted .npy file satisfies the format's rules.
inline bool keeps_rules(const FileTensor& tensor, std::span<const std::byte> file) {
  const bool long_header = std::to_integer<int>(file[6]) > 1;
  std::size_t header = 0;
  for (std::size_t i = long_header ? 12 : 10; i-- > 8;) {
    header = header << 8 | std::to_integer<std::size_t>(file[i]);
  }
  return tensor.dtype != DType::other && size_fits(tensor) &&
         cover_the_data({&tensor, 1}, file, (long_header ? 12u : 10u) + header);
}

}  // namespace rapt::test
