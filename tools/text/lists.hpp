// Lists of words and extents as text.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace rapt::tools {

/// "a, b, c".
std::string joined(std::span<const std::string> parts, const std::string& separator = ", ");

/// The shape as "[5, 16]".
std::string format_shape(std::span<const std::int64_t> shape);

}  // namespace rapt::tools
