// A code point takes one column: the words of reports have no wide ones.
#include "text/columns.hpp"

#include <algorithm>

namespace rapt::tools {
namespace {

bool continues_code_point(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

std::size_t display_width(std::string_view word) {
  return static_cast<std::size_t>(
      std::count_if(word.begin(), word.end(), [](char c) { return !continues_code_point(c); }));
}

std::string shortened(const std::string& word, std::size_t width) {
  if (display_width(word) <= width) return word;
  std::size_t columns = 0;
  std::size_t bytes = 0;
  while (bytes < word.size()) {
    if (!continues_code_point(word[bytes]) && ++columns == width) break;
    ++bytes;
  }
  return word.substr(0, bytes) + "…";
}

std::string padded(const std::string& word, std::size_t width, bool right) {
  const std::string text = shortened(word, width);
  const std::string spaces(width - std::min(width, display_width(text)), ' ');
  return right ? spaces + text : text + spaces;
}

}  // namespace rapt::tools
