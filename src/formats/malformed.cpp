// Sentences and checked sizes for the readers of files.
#include "formats/malformed.hpp"

#include <limits>

namespace rapt::io {
namespace {

constexpr std::size_t kQuotedBytes = 80;
constexpr std::uint64_t kMaxSize = std::numeric_limits<std::int64_t>::max();

}  // namespace

void malformed(const std::string& path, std::uint64_t offset, const std::string& what) {
  throw Error(ErrorCode::malformed_file, path + ": byte " + std::to_string(offset) + ": " + what);
}

void refuse_zero_byte(const std::string& path) {
  if (path.find('\0') == std::string::npos) return;
  throw Error(ErrorCode::file_error, "path: " + quote(path) + " holds a zero byte");
}

std::string quote(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string result = "\"";
  for (const char c : text.substr(0, kQuotedBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (byte >= 0x20 && byte < 0x7f) {
      result += c;
    } else {
      result += "\\x";
      result += kHex[byte >> 4];
      result += kHex[byte & 15];
    }
  }
  result += text.size() > kQuotedBytes ? "...\"" : "\"";
  return result;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string result = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) result += ", ";
    result += std::to_string(shape[i]);
  }
  return result + "]";
}

std::optional<std::uint64_t> element_count(std::span<const std::int64_t> shape) {
  std::uint64_t product = 1;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent == 0) {
      empty = true;
      continue;
    }
    const auto factor = static_cast<std::uint64_t>(extent);
    if (product > kMaxSize / factor) return std::nullopt;
    product *= factor;
  }
  return empty ? 0 : product;
}

std::optional<std::uint64_t> byte_count(std::uint64_t count, unsigned bits) {
  // count = 8 * groups + rest: groups * bits is whole bytes, and rest * bits < 2^10 cannot
  // overflow.
  const std::uint64_t groups = count / 8;
  const std::uint64_t rest_bits = count % 8 * bits;
  if (groups > (kMaxSize - rest_bits / 8) / bits) return std::nullopt;
  return groups * bits + rest_bits / 8;
}

std::uint64_t little_endian(std::span<const std::byte> bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    number = number << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  }
  return number;
}

}  // namespace rapt::io
