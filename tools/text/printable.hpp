// External texts, made safe for a terminal or a file.
#pragma once

#include <string>
#include <string_view>

namespace rapt::tools {

/// `text` with '?' for every control character and every byte of invalid UTF-8: for external words
/// and names that go to a terminal or into a file.
std::string printable(std::string_view text);

}  // namespace rapt::tools
