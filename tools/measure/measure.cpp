// Clocks, medians, and peaks of multiply-adds.
#include "measure/measure.hpp"

#include "measure/fma_peak.hpp"

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>

namespace rapt::tools {
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

MedianInterval median_interval(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  const double half = 0.98 * std::sqrt(count);
  const auto low = static_cast<std::size_t>(std::max(0.0, std::floor(0.5 * count - half)));
  const auto high = static_cast<std::size_t>(std::min(count - 1.0, std::ceil(0.5 * count + half)));
  return {values[low], values[high]};
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
  // Without an FMA instruction std::fma is a call into the math library.
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

}  // namespace rapt::tools
