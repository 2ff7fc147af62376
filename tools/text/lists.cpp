// Joins parts with a separator between them.
#include "text/lists.hpp"

#include <vector>

namespace rapt::tools {

std::string joined(std::span<const std::string> parts, const std::string& separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += separator;
    text += part;
  }
  return text;
}

std::string format_shape(std::span<const std::int64_t> shape) {
  std::vector<std::string> extents;
  extents.reserve(shape.size());
  for (const std::int64_t extent : shape) extents.push_back(std::to_string(extent));
  return "[" + joined(extents) + "]";
}

}  // namespace rapt::tools
