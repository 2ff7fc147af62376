// Bitwise equality of floats: -0 differs from +0, and a NaN equals itself.
#pragma once

#include <cstring>
#include <span>

namespace rapt {

inline bool same_bits(std::span<const float> x, std::span<const float> y) {
  return x.size() == y.size() &&
         (x.empty() || std::memcmp(x.data(), y.data(), x.size_bytes()) == 0);
}

}  // namespace rapt
