// How much of the suite runs: everything, or a share that is fast enough for an emulator or a
// sanitizer.
#pragma once

#include <cstdlib>
#include <string_view>

namespace rapt::test {

/// Whether the environment variable RAPT_TEST_LEVEL is "quick"; any other value means the full
/// level. A quick test takes fewer samples or smaller shapes; it never skips a kind of check.
inline bool quick() {
  const char* const level = std::getenv("RAPT_TEST_LEVEL");
  return level != nullptr && std::string_view(level) == "quick";
}

}  // namespace rapt::test
