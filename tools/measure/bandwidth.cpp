// Windows of a large buffer, read in chunks by all threads.
#include "measure/bandwidth.hpp"

#include "measure/machine.hpp"
#include "measure/measure.hpp"

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <vector>

namespace rapt::tools {
namespace {

constexpr std::size_t kWindow = (std::size_t{64} << 20) / sizeof(float);
constexpr std::size_t kChunk = (std::size_t{4} << 20) / sizeof(float);
/// Samples of each way of reading before one is chosen.
constexpr int kTrials = 5;

}  // namespace

BandwidthMeter::BandwidthMeter(std::int64_t cache_bytes) {
  constexpr auto kWindowBytes = static_cast<std::int64_t>(kWindow * sizeof(float));
  const std::int64_t most = std::min(std::int64_t{2} << 30, available_memory() / 4);
  const std::int64_t wanted = std::max(4 * cache_bytes, std::int64_t{256} << 20);
  const std::int64_t windows = std::max<std::int64_t>(1, std::min(wanted, most) / kWindowBytes);
  buffer_ = FloatBuffer(static_cast<std::size_t>(windows) * kWindow);
  exceeds_cache_ = windows * kWindowBytes > cache_bytes;
  const std::span<float> values = buffer_.values();
  oneapi::tbb::parallel_for(std::size_t{0}, values.size() / kChunk, [&](std::size_t chunk) {
    std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(chunk * kChunk), kChunk, 1.0f);
  });
  // In turns, so that changes of the machine affect all of them alike.
  const std::span<const ReadWay> ways = read_ways();
  std::vector<std::vector<double>> rates(ways.size());
  for (int trial = 0; trial < kTrials; ++trial) {
    for (std::size_t i = 0; i < ways.size(); ++i) rates[i].push_back(measure(ways[i]));
  }
  double best = 0.0;
  for (std::size_t i = 0; i < ways.size(); ++i) {
    const double rate = median(rates[i]);
    if (rate <= best) continue;
    best = rate;
    way_ = ways[i];
  }
}

double BandwidthMeter::measure(const ReadWay& way) {
  const float* window = buffer_.data() + next_;
  next_ = (next_ + kWindow) % buffer_.size();
  std::atomic<float> total = 0.0f;
  const double seconds = seconds_of([&] {
    oneapi::tbb::parallel_for(std::size_t{0}, kWindow / kChunk, [&](std::size_t chunk) {
      total.fetch_add(read_floats(window + chunk * kChunk, kChunk, way), std::memory_order_relaxed);
    });
  });
  return static_cast<double>(kWindow * sizeof(float)) / seconds;
}

}  // namespace rapt::tools
