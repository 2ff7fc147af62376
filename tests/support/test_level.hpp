// How much of itself the suite runs: all of it, or a share that stays short under an emulator or a
// sanitizer.
#pragma once

#include <cstdlib>
#include <string_view>

namespace rapt::test {

/// Whether the environment variable RAPT_TEST_LEVEL is "quick". Unset, and for any other word, the
/// level is full. A quick test takes fewer samples or smaller shapes; it never skips a kind of
/// check.
inline bool quick() {
  const char* const level = std::getenv("RAPT_TEST_LEVEL");
  return level != nullptr && std::string_view(level) == "quick";
}

}  // namespace rapt::test
