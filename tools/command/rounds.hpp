// Measures in rounds: in each round the peak, then the work, on every ISA in turn, and the memory
// bandwidth once, so that changes of the clock or the load affect all of them alike.
#pragma once

#include "measure/cache_bits.hpp"
#include "measure/machine.hpp"
#include "measure/measure.hpp"
#include "measure/workload.hpp"
#include "rapt/isa.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rapt::tools {

struct RoundOptions {
  std::vector<Isa> isas;
  int threads = 1;
  std::optional<std::int64_t> repeat;  ///< rounds; unset: until the median is stable
  double seconds = 2.0;                ///< maximum, per workload and ISA, without `repeat`
};

/// One workload on one ISA.
struct WorkResult {
  WorkShape shape;
  Isa isa = Isa::scalar;
  double median = 0;  ///< seconds per call
  double least = 0;
  MedianInterval interval{};  ///< of the median
  double flops = 0;           ///< per call
  double bytes = 0;
  double peak = 0;  ///< median FMA peak of this ISA in the same rounds, FLOP/s
  double read = 0;  ///< median read bandwidth in the same rounds, bytes per second
  std::int64_t repeats = 0;
  std::int64_t calls = 0;  ///< per sample
  int copies = 1;
  bool cold = false;         ///< whether the copies exceed the last-level cache
  bool bits_stable = false;  ///< whether the first and the last call gave the same bits
  std::string hash;          ///< of the output after the last call

  double gflops() const { return flops / median * 1e-9; }
  double gbs() const { return bytes / median * 1e-9; }
  double share_of_peak() const { return gflops() * 1e9 / peak; }
  double share_of_bandwidth() const { return bytes / median / read; }
};

struct BenchReport {
  Machine machine;
  int threads = 1;
  double fma_peak = 0;        ///< the best of the measured ISAs, FLOP/s
  double read_bandwidth = 0;  ///< median of all rounds, bytes per second
  std::string read_loop;      ///< that measured it
  bool bandwidth_is_memory = true;
  bool bits_equal =
      false;               ///< on every workload every ISA, first and last call, gave the same bits
  bool explained = false;  ///< whether the reports say why a result is what it is
  std::optional<CacheBits> cache;  ///< of `rapt compare`
  std::vector<WorkResult> results;
};

/// Measures the workloads one after the other with `threads` threads of one tbb::task_arena.
BenchReport measure_rounds(const std::vector<WorkShape>& shapes, const RoundOptions& options);

/// The report as JSON: machine, peak, bits_equal, cache, results.
std::string to_json_text(const BenchReport& report);

/// The report as tables, one per workload, and a last line on the bits: "bits: equal on ...", after
/// a line on the cache if it was compared.
std::string to_table(const BenchReport& report);

}  // namespace rapt::tools
