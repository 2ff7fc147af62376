// The time that several threads need for items of one size plus some smaller ones: plans compare it
// to choose the size of items.
#pragma once

#include "core/tuning.hpp"

#include <algorithm>
#include <cstdint>

namespace rapt {

/// A division of work: `full` items of the same size, then `small` items that each take the share
/// `part` of a full one.
struct Cut {
  std::int64_t full;
  std::int64_t small;
  double part;  ///< in [0, 1)
};

/// The time, in full items, until `threads` threads have finished, each taking the next item when
/// it is free, plus the expected delay of a thread that is held up: a share of its last item, so
/// that of two otherwise equal divisions the finer one wins.
inline double rounds_of(const Cut& cut, std::int64_t threads) {
  const std::int64_t rounds = (cut.full + threads - 1) / threads;
  const std::int64_t idle = rounds * threads - cut.full;
  std::int64_t left = cut.small;
  if (cut.small > 0) {
    left = std::max<std::int64_t>(0, left - idle * static_cast<std::int64_t>(1.0 / cut.part));
  }
  const std::int64_t more = (left + threads - 1) / threads;
  return static_cast<double>(rounds) + static_cast<double>(more) * cut.part + tuning::kMeanDelay;
}

}  // namespace rapt
