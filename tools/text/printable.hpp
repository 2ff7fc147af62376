// Texts from outside, made fit for a terminal or a file.
#pragma once

#include <string>
#include <string_view>

namespace rapt::tools {

/// `text` with '?' for every control character and every byte that is no UTF-8: for words and names
/// from outside that go to a terminal or into a file.
std::string printable(std::string_view text);

}  // namespace rapt::tools
