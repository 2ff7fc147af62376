// The seeded generator behind every generated weight, example and test: the same numbers
// everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rapt {

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  /// Uniform in [-1, 1): a multiple of 2^-23, so exact in f32.
  float uniform() { return static_cast<float>(next() >> 40) * 0x1p-23f - 1.0f; }

  /// Nearly Gaussian, mean 0, variance 1: the sum of 12 uniform multiples of 2^-24, exact in f32 up
  /// to one rounding, so free of any libm.
  float normal() {
    std::int64_t sum = 0;
    for (int i = 0; i < 12; ++i) sum += static_cast<std::int64_t>(next() >> 40);
    return static_cast<float>(sum - 6 * (std::int64_t{1} << 24)) * 0x1p-24f;
  }

  /// Uniform in [0, bound); bound >= 1.
  std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(bound));
  }

 private:
  std::uint64_t state_;
};

/// `count` nearly Gaussian floats, the first of a generator of their own.
inline std::vector<float> normal_floats(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = random.normal();
  return values;
}

}  // namespace rapt
