// The .safetensors format on bytes in memory: 8 bytes of header length, a JSON header, the data.
#pragma once

#include "rapt/weights_file.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rapt::io {

/// Bytes of header length before the header.
inline constexpr std::size_t kHeaderLengthBytes = 8;

/// The limits stated in weights_file.hpp, twice what checkpoints of 100,000 tensors need: files
/// within them are read in less than a second and 512 MiB. The format's reference reader accepts
/// 100 MB of header.
inline constexpr std::uint64_t kMaxHeaderBytes = 40'000'000;
inline constexpr std::size_t kMaxEntries = std::size_t{1} << 18;

/// One entry of the header as written: types are checked, offsets not yet.
struct HeaderTensor {
  std::string name;
  std::uint64_t at = 0;  ///< the file offset of the name
  DType dtype = DType::other;
  std::string_view type_word{};  ///< the format's word, which outlives the file
  unsigned bits = 0;             ///< of one element
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  ///< data_offsets
};

/// The entries of a header, in its order. `json` is the header alone, and it starts at byte
/// kHeaderLengthBytes of the file. Rejects all JSON that is not an object of tensors
/// ({"dtype": string, "shape": [...], "data_offsets": [begin, end]}) and at most one "__metadata__"
/// of strings; also duplicate keys, numbers that are negative, fractional or at least 2^63, and
/// more than kMaxEntries tensors or metadata entries. Nesting is bounded by that grammar. Throws
/// Error{malformed_file}.
std::vector<HeaderTensor> parse_safetensors_header(std::string_view json, const std::string& path);

/// The tensors of a whole .safetensors file in `bytes`, which they point into, in the order of
/// their data: each has the bytes that its type and shape need, and together they cover the data
/// without overlap or hole. Throws Error{malformed_file}: `path`, the byte offset and what was
/// found there.
std::vector<FileTensor> parse_safetensors(std::span<const std::byte> bytes,
                                          const std::string& path);

}  // namespace rapt::io
