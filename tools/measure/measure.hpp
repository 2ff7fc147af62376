// Timing: samples with median and minimum, and the machine's limits, measured in small pieces
// between the samples of the work that is compared with them.
#pragma once

#include "rapt/isa.hpp"

#include <cstdint>
#include <functional>
#include <vector>

namespace rapt::tools {

/// Seconds that one call of `work` takes.
double seconds_of(const std::function<void()>& work);

/// Seconds per call of `work`, over `calls` of them.
double seconds_per_call(const std::function<void()>& work, std::int64_t calls);

/// The middle value; the mean of the two middle ones for an even count. `values` is not empty.
double median(std::vector<double> values);

/// A 95 % confidence interval of the median, for any distribution: the samples of rank n / 2 -+
/// 0.98 sqrt(n).
struct MedianInterval {
  double low = 0, high = 0;
};

/// `values` is not empty; fewer than 6 give their minimum and maximum.
MedianInterval median_interval(std::vector<double> values);

/// The smallest value. `values` is not empty.
double minimum(const std::vector<double>& values);

/// Calls per sample, so that a sample is much longer than reading the clock.
std::int64_t calls_per_sample(double seconds_of_one_call);

/// Floating-point operations per second of `isa` now, with every thread of the current
/// tbb::task_arena busy; takes a few milliseconds.
double measure_fma_peak(Isa isa);

}  // namespace rapt::tools
