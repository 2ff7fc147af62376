// UTF-8 code point by code point.
#include "text/printable.hpp"

#include <algorithm>
#include <cstddef>

namespace rapt::tools {
namespace {

/// Bytes of the UTF-8 code point at the start of the non-empty `text`; 0 if there is none.
std::size_t code_point_bytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t count = first < 0x80   ? 1
                            : first < 0xc2 ? 0
                            : first < 0xe0 ? 2
                            : first < 0xf0 ? 3
                            : first < 0xf5 ? 4
                                           : 0;
  if (count > text.size()) return 0;
  for (std::size_t i = 1; i < count; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  return count;
}

/// Whether a terminal may interpret the code point as a control: C0, DEL and C1.
bool is_control(std::string_view code_point) {
  const auto first = static_cast<unsigned char>(code_point.front());
  return first < 0x20 || first == 0x7f ||
         (first == 0xc2 && static_cast<unsigned char>(code_point[1]) < 0xa0);
}

}  // namespace

std::string printable(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const std::size_t count = code_point_bytes(text);
    const std::string_view code_point = text.substr(0, std::max<std::size_t>(count, 1));
    clean += count == 0 || is_control(code_point) ? std::string_view("?") : code_point;
    text.remove_prefix(code_point.size());
  }
  return clean;
}

}  // namespace rapt::tools
