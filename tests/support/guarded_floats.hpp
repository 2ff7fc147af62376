// Tensors of random floats, each ending at an inaccessible memory page.
#pragma once

#include "core/random.hpp"
#include "support/guarded_buffer.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace rapt::test {

using GuardedFloats = GuardedBuffer<float>;

inline std::size_t count_of(std::int64_t rows, std::int64_t columns) {
  return static_cast<std::size_t>(rows * columns);
}

inline void fill_normal(const GuardedFloats& buffer, std::uint64_t seed) {
  Random random(seed);
  std::generate(buffer.begin(), buffer.end(), [&random] { return random.normal(); });
}

/// The concatenated contents of the buffers.
inline std::vector<float> joined(std::initializer_list<const GuardedFloats*> buffers) {
  std::vector<float> all;
  for (const GuardedFloats* buffer : buffers) {
    all.insert(all.end(), buffer->begin(), buffer->end());
  }
  return all;
}

}  // namespace rapt::test
