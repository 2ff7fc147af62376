// As many samples as fit a user's patience.
#include "measure/pass_time.hpp"

#include "measure/measure.hpp"

#include <algorithm>
#include <vector>

namespace rapt::tools {

PassTime time_passes(const std::function<void()>& pass, std::optional<std::int64_t> repeat) {
  constexpr double kBudget = 0.2;
  double one = seconds_of(pass);
  // The first pass faulted in memory; time a second one, unless it takes too long.
  if (one < kBudget) one = std::min(one, seconds_of(pass));
  const std::int64_t calls = calls_per_sample(one);
  const double sample = std::max(1e-9, one * static_cast<double>(calls));
  const auto fitting = static_cast<std::int64_t>(std::min(1000.0, kBudget / sample));
  const std::int64_t repeats = repeat.value_or(std::max<std::int64_t>(1, fitting));
  std::vector<double> seconds;
  for (std::int64_t i = 0; i < repeats; ++i) seconds.push_back(seconds_per_call(pass, calls));
  return {.median = median(seconds), .least = minimum(seconds), .repeats = repeats};
}

}  // namespace rapt::tools
