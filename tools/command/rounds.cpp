// The measuring rounds, and which ISAs still take part.
#include "command/rounds.hpp"

#include "measure/bandwidth.hpp"
#include "measure/isas.hpp"
#include "measure/measure.hpp"
#include "text/hash.hpp"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <memory>

namespace rapt::tools {
namespace {

constexpr std::int64_t kMinRounds = 3;
/// Minimum rounds before a stable median is accepted, and maximum rounds.
constexpr std::int64_t kMinStableRounds = 11;
constexpr std::int64_t kMaxRounds = 500;
/// A median is stable if its interval is no wider than this share of it.
constexpr double kStableWidth = 0.02;

/// The samples of one ISA on one workload.
struct Series {
  Isa isa = Isa::scalar;
  std::vector<double> seconds;
  std::vector<double> peaks;
  std::int64_t calls = 1;
  double spent = 0;
  std::string first_hash;
  std::string last_hash;
};

double sample(Workload& work, Isa isa, std::int64_t calls) {
  const ForcedIsa forced(isa);
  return seconds_per_call([&] { work.call(); }, calls);
}

/// The first call: faults in memory, estimates the time of a call, and gives the bits to compare.
Series warmed_up(Workload& work, Isa isa, const RoundOptions& options) {
  Series series;
  series.isa = isa;
  double one = sample(work, isa, 1);
  series.first_hash = series.last_hash = hash_of(work.output());
  if (!options.repeat && one > options.seconds) {
    // Too slow for a second call, and so slow that a cold start does not matter.
    series.peaks.push_back(measure_fma_peak(isa));
    series.seconds.push_back(one);
    series.spent = one;
    return series;
  }
  if (one < 0.1) one = std::min(one, sample(work, isa, 1));
  series.calls = calls_per_sample(one);
  return series;
}

bool median_is_stable(const std::vector<double>& seconds) {
  const MedianInterval interval = median_interval(seconds);
  return interval.high - interval.low <= kStableWidth * median(seconds);
}

bool needs_round(const Series& series, const RoundOptions& options) {
  const auto rounds = static_cast<std::int64_t>(series.seconds.size());
  if (options.repeat) return rounds < *options.repeat;
  if (series.spent >= options.seconds && rounds >= 1) {
    return rounds < kMinRounds && series.spent < 2.0 * options.seconds;
  }
  if (rounds >= kMinStableRounds && median_is_stable(series.seconds)) return false;
  return rounds < kMaxRounds;
}

void measure_round(Workload& work, Series& series, bool cold) {
  // The measurements before evicted inputs that may be in the caches: reload them.
  constexpr double kQuick = 0.02;
  if (!cold && (series.seconds.empty() || series.seconds.back() < kQuick)) {
    sample(work, series.isa, 1);
  }
  series.peaks.push_back(measure_fma_peak(series.isa));
  series.seconds.push_back(sample(work, series.isa, series.calls));
  series.spent += series.seconds.back() * static_cast<double>(series.calls);
  series.last_hash = hash_of(work.output());
}

WorkResult result_of(const Series& series, const Workload& work, const WorkShape& shape,
                     std::int64_t cache_bytes, double read) {
  WorkResult result;
  result.shape = shape;
  result.isa = series.isa;
  result.median = median(series.seconds);
  result.least = minimum(series.seconds);
  result.interval = median_interval(series.seconds);
  result.flops = work.flops();
  result.bytes = work.bytes();
  result.peak = median(series.peaks);
  result.read = read;
  result.repeats = static_cast<std::int64_t>(series.seconds.size());
  result.calls = series.calls;
  result.copies = work.copies();
  result.cold =
      shape.cold && work.copies() * work.bytes() >= 2.0 * static_cast<double>(cache_bytes);
  result.bits_stable = series.first_hash == series.last_hash;
  result.hash = series.last_hash;
  return result;
}

/// Appends a result per ISA and the bandwidths measured in between.
void measure_workload(const WorkShape& shape, const RoundOptions& options, std::int64_t cache_bytes,
                      BandwidthMeter& memory, std::vector<double>& all_bandwidths,
                      std::vector<WorkResult>& results) {
  const std::unique_ptr<Workload> work = make_workload(shape, cache_bytes);
  std::vector<Series> all;
  for (const Isa isa : options.isas) all.push_back(warmed_up(*work, isa, options));
  std::vector<double> bandwidths{memory.measure()};
  for (bool any = true; any;) {
    any = false;
    for (Series& series : all) {
      if (!needs_round(series, options)) continue;
      measure_round(*work, series, shape.cold);
      any = true;
    }
    if (any) bandwidths.push_back(memory.measure());
  }
  for (const Series& series : all) {
    results.push_back(result_of(series, *work, shape, cache_bytes, median(bandwidths)));
  }
  all_bandwidths.insert(all_bandwidths.end(), bandwidths.begin(), bandwidths.end());
}

bool all_bits_equal(const std::vector<WorkResult>& results, std::size_t isas) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!results[i].bits_stable || results[i].hash != results[i - i % isas].hash) return false;
  }
  return true;
}

}  // namespace

BenchReport measure_rounds(const std::vector<WorkShape>& shapes, const RoundOptions& options) {
  BenchReport report;
  report.machine = describe_machine();
  report.threads = options.threads;
  const std::int64_t cache_bytes = last_level_cache(report.machine);
  // By default an arena has no more workers than the machine has cores.
  const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism,
                                          static_cast<std::size_t>(options.threads));
  oneapi::tbb::task_arena arena(options.threads);
  arena.execute([&] {
    BandwidthMeter memory(cache_bytes);
    report.bandwidth_is_memory = memory.exceeds_cache();
    report.read_loop = sentence(memory.way());
    std::vector<double> bandwidths;
    for (const WorkShape& shape : shapes) {
      measure_workload(shape, options, cache_bytes, memory, bandwidths, report.results);
    }
    report.read_bandwidth = median(bandwidths);
  });
  for (const WorkResult& result : report.results) {
    report.fma_peak = std::max(report.fma_peak, result.peak);
  }
  report.bits_equal = all_bits_equal(report.results, options.isas.size());
  return report;
}

}  // namespace rapt::tools
