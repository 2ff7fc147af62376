// Memory bandwidth of plain reads, measured in small pieces between the samples of the work that is
// compared with it.
#pragma once

#include "measure/float_buffer.hpp"
#include "measure/read_loops.hpp"

#include <cstddef>
#include <cstdint>

namespace rapt::tools {

/// Measures with the read loop that was fastest when the object was created, on memory of the same
/// kind as the inputs of the work: a limit that the machine reaches in practice.
class BandwidthMeter {
 public:
  /// Allocates a buffer of four times `cache_bytes`, at least 256 MiB and at most 2 GiB or a
  /// quarter of the available memory, faults it in, and tries every read loop with every thread of
  /// the current tbb::task_arena.
  explicit BandwidthMeter(std::int64_t cache_bytes);

  /// Reads the next 64 MiB of the buffer with every thread of the current tbb::task_arena. The
  /// window moves, so that its data has left the caches since it was last read.
  double measure() { return measure(way_); }

  /// Whether the buffer is larger than the caches, so that measure() reads memory.
  bool exceeds_cache() const { return exceeds_cache_; }

  /// The loop that measures.
  const ReadWay& way() const { return way_; }

 private:
  double measure(const ReadWay& way);

  FloatBuffer buffer_;
  std::size_t next_ = 0;
  bool exceeds_cache_ = false;
  ReadWay way_{1, 0};
};

}  // namespace rapt::tools
