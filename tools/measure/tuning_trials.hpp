// What is tried of each number of a tuning: values, and the workloads that depend on it.
#pragma once

#include "dispatch/tuning_fields.hpp"
#include "measure/workload.hpp"

#include <cstdint>
#include <vector>

namespace rapt::tools {

template <class Row>
struct Trial {
  std::int64_t Row::*number;
  std::vector<std::int64_t> values;  ///< besides the default; illegal ones are left out
  std::vector<WorkShape> works;
  bool shared = false;  ///< whether it matters with several threads only
};

/// Those of an ISA's kernels, on one thread.
const std::vector<Trial<kernels::Tuning>>& kernel_trials();
/// Those of calls.
const std::vector<Trial<tuning::CallTuning>>& call_trials();

}  // namespace rapt::tools
