// Which numbers of a tuning are faster on this machine: each is tried on small workloads, with its
// default and some other values in turn.
#pragma once

#include "core/tuning.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "measure/machine.hpp"
#include "rapt/isa.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rapt::tools {

/// A value that was tried.
struct TriedValue {
  std::int64_t value;
  double ratio;  ///< median of its time, of that of the default in the same round
};

struct TriedNumber {
  std::string section;  ///< an ISA, or "call"
  std::string_view name;
  std::int64_t usual, chosen;  ///< the default, and what was faster twice
  std::int64_t rounds;         ///< 0: there was no time left, or no other value
  std::vector<TriedValue> others;
};

struct TunedIsa {
  Isa isa;
  kernels::Tuning tuning;
};

struct TuningResult {
  std::vector<TriedNumber> tried;
  std::vector<TunedIsa> isas;
  tuning::CallTuning call;
};

struct TuningOptions {
  std::vector<Isa> isas;  ///< the first one also for the numbers of calls
  int threads = 1;        ///< those of calls
  double seconds = 90;    ///< for everything; each number gets its share of what is left, if any
};

/// A value other than the default is chosen if it is 2 % faster in the median and faster in two
/// rounds of three, at least five, and slower on none of the workloads, twice at different times.
/// Leaves the default tuning set.
TuningResult search_tuning(const Machine& machine, const TuningOptions& options);

/// What decides that, for one value: a row of ratios to the default for each workload.
bool is_faster(const std::vector<std::vector<double>>& ratios);

}  // namespace rapt::tools
