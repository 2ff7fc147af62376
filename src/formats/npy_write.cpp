// Writing .npy 1.0, byte for byte as NumPy does.
#include "core/out_of_memory.hpp"
#include "formats/malformed.hpp"
#include "formats/write_file.hpp"
#include "rapt/error.hpp"
#include "rapt/weights_file.hpp"

#include <string_view>

namespace rapt {
namespace {

/// Data starts at a multiple of this, so that a mapped file can be read in place.
constexpr std::size_t kAlignment = 64;

/// The number of elements. Throws Error{invalid_argument} for a shape that no file can hold.
std::size_t checked_count(const float* data, const std::vector<std::int64_t>& shape) {
  const auto refuse = [&shape](const std::string& why) {
    throw Error(ErrorCode::invalid_argument, "shape: " + io::shape_text(shape) + " " + why);
  };
  if (shape.size() > io::kMaxRank) {
    throw Error(ErrorCode::invalid_argument,
                "shape: rank " + std::to_string(shape.size()) + " is more than 64");
  }
  for (const std::int64_t extent : shape) {
    if (extent < 0) refuse("has a negative extent");
  }
  const std::optional<std::uint64_t> count = io::element_count(shape);
  if (!count || !io::byte_count(*count, 32)) refuse("has too many elements");
  if (*count > 0 && data == nullptr) {
    throw Error(ErrorCode::invalid_argument, "data: null for shape " + io::shape_text(shape));
  }
  return static_cast<std::size_t>(*count);
}

std::string header_text(const std::vector<std::int64_t>& shape) {
  std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) dict += ' ';
    dict += std::to_string(shape[i]);
    if (i + 1 < shape.size() || shape.size() == 1) dict += ',';
  }
  dict += "), }";
  constexpr std::size_t kPrefix = 10;  // magic, version, length
  const std::size_t used = kPrefix + dict.size() + 1;
  dict.append((kAlignment - used % kAlignment) % kAlignment, ' ');
  dict += '\n';

  std::string header = "\x93NUMPY";
  header += '\1';
  header += '\0';
  header += static_cast<char>(dict.size() & 0xff);
  header += static_cast<char>(dict.size() >> 8);
  return header + dict;
}

}  // namespace

void write_npy(const std::string& path, const float* data,
               const std::vector<std::int64_t>& shape) try {
  io::refuse_zero_byte(path);
  const std::size_t count = checked_count(data, shape);
  const std::string header = header_text(shape);
  const std::string_view values(reinterpret_cast<const char*>(data), count * sizeof(float));
  io::write_file(path, {header, values});
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
