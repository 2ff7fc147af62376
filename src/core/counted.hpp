// A count with its noun, for messages.
#pragma once

#include <string>

namespace rapt::core {

/// "1 page", "0 pages", "2 pages".
template <class Integer>
std::string counted(Integer count, const char* noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace rapt::core
