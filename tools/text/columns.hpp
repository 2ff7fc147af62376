// Words in columns of a terminal, counted in code points.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rapt::tools {

/// Columns that `word` takes in a terminal: its UTF-8 code points.
std::size_t display_width(std::string_view word);

/// `word` cut to at most `width` columns, the last one "…" when something was cut.
std::string shortened(const std::string& word, std::size_t width);

/// `word` shortened to `width` columns and padded with spaces after it, or before it if `right`.
std::string padded(const std::string& word, std::size_t width, bool right = false);

}  // namespace rapt::tools
