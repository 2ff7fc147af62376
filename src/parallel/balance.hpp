// How long several threads need for items of one size and some smaller ones: what plans compare
// when they choose how finely to cut.
#pragma once

#include <algorithm>
#include <cstdint>

namespace rapt {

/// A cut of a rectangle of work: `full` items of the same size, and `small` ones that take `part`
/// of it, the small ones last.
struct Cut {
  std::int64_t full;
  std::int64_t small;
  double part;  ///< in [0, 1)
};

/// Times of a full item until `threads` threads are done with the cut, each taking the next item
/// when it is free, and what a thread that is held up adds: in the mean a share of its last item,
/// so that of two cuts that come out even the finer one is better.
inline double rounds_of(const Cut& cut, std::int64_t threads) {
  constexpr double kHeldUp = 0.25;
  const std::int64_t rounds = (cut.full + threads - 1) / threads;
  const std::int64_t idle = rounds * threads - cut.full;
  std::int64_t left = cut.small;
  if (cut.small > 0) {
    left = std::max<std::int64_t>(0, left - idle * static_cast<std::int64_t>(1.0 / cut.part));
  }
  const std::int64_t more = (left + threads - 1) / threads;
  return static_cast<double>(rounds) + static_cast<double>(more) * cut.part + kHeldUp;
}

}  // namespace rapt
