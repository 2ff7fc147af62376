// Clocks, medians, and the two limits: multiply-adds and reading.
#include "measure.hpp"

#include "fma_peak.hpp"
#include "machine.hpp"

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>

namespace rapt::tools {
namespace {

constexpr std::size_t kWindow = (std::size_t{64} << 20) / sizeof(float);
constexpr std::size_t kReadChunk = (std::size_t{1} << 20) / sizeof(float);

/// The sum of the words of `count` floats (a multiple of 64), read in order.
std::uint64_t sum_words(const float* from, std::size_t count) {
  constexpr std::size_t kWords = 32;
  std::uint64_t sums[kWords] = {};
  std::uint64_t line[kWords];
  for (std::size_t i = 0; i < count; i += 2 * kWords) {
    __builtin_prefetch(from + i + 1024);
    __builtin_prefetch(from + i + 1024 + 16);
    __builtin_prefetch(from + i + 1024 + 32);
    __builtin_prefetch(from + i + 1024 + 48);
    std::memcpy(line, from + i, sizeof line);
    for (std::size_t w = 0; w < kWords; ++w) sums[w] += line[w];
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t value : sums) sum += value;
  return sum;
}

}  // namespace

double seconds_of(const std::function<void()>& work) { return seconds_per_call(work, 1); }

double seconds_per_call(const std::function<void()>& work, std::int64_t calls) {
  const auto begin = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < calls; ++i) work();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return elapsed.count() / static_cast<double>(calls);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return 0.5 * (values[middle - 1] + values[middle]);
}

double minimum(const std::vector<double>& values) {
  return *std::min_element(values.begin(), values.end());
}

std::int64_t calls_per_sample(double seconds_of_one_call) {
  constexpr double kSample = 200e-6;
  if (seconds_of_one_call >= kSample) return 1;
  return static_cast<std::int64_t>(std::ceil(kSample / std::max(seconds_of_one_call, 1e-8)));
}

double measure_fma_peak(Isa isa) {
  const int threads = oneapi::tbb::this_task_arena::max_concurrency();
  // std::fma without an instruction for it is a call into the mathematical library.
  const std::int64_t iterations = isa == Isa::scalar ? 2000 : 20000;
  constexpr int kPieces = 32;
  std::atomic<double> flops = 0.0;
  const double seconds = seconds_of([&] {
    oneapi::tbb::parallel_for(0, kPieces * threads, [&](int) {
      flops.fetch_add(run_fma_chains(isa, iterations), std::memory_order_relaxed);
    });
  });
  return flops.load() / seconds;
}

BandwidthMeter::BandwidthMeter(std::int64_t cache_bytes) {
  const std::int64_t most = std::min(std::int64_t{1} << 30, available_memory() / 4);
  const std::int64_t wanted = std::max(2 * cache_bytes, std::int64_t{128} << 20);
  const std::int64_t windows =
      std::max<std::int64_t>(1, std::min(wanted, most) / static_cast<std::int64_t>(kWindow * 4));
  buffer_ = FloatBuffer(static_cast<std::size_t>(windows) * kWindow);
  exceeds_cache_ = windows * static_cast<std::int64_t>(kWindow * 4) > cache_bytes;
  const std::span<float> values = buffer_.values();
  oneapi::tbb::parallel_for(std::size_t{0}, values.size() / kReadChunk, [&](std::size_t chunk) {
    std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(chunk * kReadChunk), kReadChunk, 1.0f);
  });
}

double BandwidthMeter::measure() {
  const float* window = buffer_.data() + next_;
  next_ = (next_ + kWindow) % buffer_.size();
  std::atomic<std::uint64_t> total = 0;
  const double seconds = seconds_of([&] {
    oneapi::tbb::parallel_for(std::size_t{0}, kWindow / kReadChunk, [&](std::size_t chunk) {
      total.fetch_add(sum_words(window + chunk * kReadChunk, kReadChunk),
                      std::memory_order_relaxed);
    });
  });
  return static_cast<double>(kWindow * sizeof(float)) / seconds;
}

}  // namespace rapt::tools
