// Test cases that need something which a machine may lack are shown as skipped; they fail if the
// environment variable CI says that everything is present.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

namespace rapt::test {

/// The number of skipped test cases. A run of only such cases exits with 77, which Meson shows as
/// skipped.
inline int& skipped_cases() {
  static int count = 0;
  return count;
}

/// Called by a test case that cannot run, once, before it returns.
inline void skip(const std::string& reason) {
  const char* const ci = std::getenv("CI");
  if (ci != nullptr && *ci != '\0') FAIL("cannot be skipped where CI is set: " << reason);
  MESSAGE("skipped: " << reason);
  ++skipped_cases();
}

}  // namespace rapt::test
