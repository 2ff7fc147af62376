// The guard page after the library's own buffers exists, even after large ones.
#include "core/aligned_buffer.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <unistd.h>

namespace rapt::test {
namespace {

/// Whether the byte can be read: a system call reports it instead of crashing.
bool readable(const char* byte) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const bool read = write(ends[1], byte, 1) == 1;
  close(ends[0]);
  close(ends[1]);
  return read;
}

}  // namespace

TEST_CASE("a buffer of the library ends at an inaccessible page") {
  for (const std::int64_t floats : {1, 16, 100, 1024, 5000, 1 << 19, (1 << 19) + 512}) {
    CAPTURE(floats);
    AlignedBuffer buffer(floats);
    const bool large = floats >= 1 << 19;
    const std::int64_t step = large ? 1 << 19 : 16;  // floats between alignment boundaries
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % static_cast<std::size_t>(step * 4) ==
          0);
    buffer.data()[0] = 1.0f;
    const char* const end =
        reinterpret_cast<const char*>(buffer.data() + (floats + step - 1) / step * step);
    CHECK(readable(end - 1));
    CHECK_FALSE(readable(end));
  }
}

}  // namespace rapt::test
