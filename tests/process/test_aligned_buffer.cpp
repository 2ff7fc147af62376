// The alignment of workspaces: to cache lines, and from 2 MiB on to huge pages.
#include "core/aligned_buffer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace rapt::test {

TEST_CASE("a buffer is aligned to a cache line, a large one to a huge page") {
  constexpr std::int64_t kHuge = (2 << 20) / 4;  // floats
  for (const std::int64_t floats :
       {std::int64_t{1}, std::int64_t{15}, std::int64_t{16}, std::int64_t{17}, std::int64_t{1000},
        kHuge - 1, kHuge, kHuge + 1}) {
    CAPTURE(floats);
    // Several: one might be aligned by chance.
    std::vector<AlignedBuffer> buffers(8);
    for (AlignedBuffer& buffer : buffers) {
      const auto address = reinterpret_cast<std::uintptr_t>(buffer.reserve(floats));
      CHECK(address % (floats < kHuge ? 64 : 2 << 20) == 0);
    }
  }
}

TEST_CASE("a buffer keeps its memory until it grows, and moves with it") {
  AlignedBuffer buffer;
  float* const first = buffer.reserve(100);
  first[99] = 5.0f;
  CHECK(buffer.reserve(100) == first);
  CHECK(buffer.reserve(1) == first);
  CHECK(buffer.data()[99] == 5.0f);
  AlignedBuffer other(std::move(buffer));
  CHECK(other.data() == first);
  CHECK(buffer.data() == nullptr);  // NOLINT(bugprone-use-after-move)
  CHECK(buffer.reserve(10) != first);
}

}  // namespace rapt::test
