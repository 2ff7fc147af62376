// The time of one forward pass in reports of a single run.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

namespace rapt::tools {

/// Repeated timings of one forward pass.
struct PassTime {
  double median = 0;  ///< seconds
  double least = 0;
  std::int64_t repeats = 0;
};

/// Times `repeat` samples of `pass`; unset: as many as fit in 0.2 s, between 1 and 1000. Very short
/// passes are called several times per sample.
PassTime time_passes(const std::function<void()>& pass, std::optional<std::int64_t> repeat);

}  // namespace rapt::tools
