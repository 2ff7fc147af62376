// Random legal tunings of every ISA and of calls: no result may depend on one.
#pragma once

#include <cstdint>

namespace rapt::test {

/// The tuning of that seed until the end of the scope: each number is the default,
/// an end of its range, or any other legal value, mostly a small one.
class RandomTuning {
 public:
  explicit RandomTuning(std::uint64_t seed);
  ~RandomTuning();
  RandomTuning(const RandomTuning&) = delete;
  RandomTuning& operator=(const RandomTuning&) = delete;
};

}  // namespace rapt::test
