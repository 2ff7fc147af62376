// Timing: samples with median and minimum, and the machine's limits, measured in small pieces that
// are meant to lie between the samples of the work they are compared with.
#pragma once

#include "float_buffer.hpp"
#include "rapt/isa.hpp"

#include <cstddef>
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

/// The smallest value. `values` is not empty.
double minimum(const std::vector<double>& values);

/// Calls per sample, so that a sample is far longer than reading the clock takes.
std::int64_t calls_per_sample(double seconds_of_one_call);

/// Floating-point operations per second of `isa` now, with every thread of the current
/// tbb::task_arena at work; takes a few milliseconds.
double measure_fma_peak(Isa isa);

/// Bytes per second that memory gives to plain reading now.
class BandwidthMeter {
 public:
  /// Allocates a buffer of twice `cache_bytes`, at least 128 MiB and at most 1 GiB or a quarter of
  /// the available memory, and touches it.
  explicit BandwidthMeter(std::int64_t cache_bytes);

  /// Reads the next 64 MiB of the buffer with every thread of the current tbb::task_arena. The
  /// window wanders, so that what it reads left the caches since it was read last.
  double measure();

  /// Whether the buffer is larger than the caches, so that measure() reads memory.
  bool exceeds_cache() const { return exceeds_cache_; }

 private:
  FloatBuffer buffer_;
  std::size_t next_ = 0;
  bool exceeds_cache_ = false;
};

}  // namespace rapt::tools
