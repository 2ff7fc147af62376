// The machine as reports describe it: CPU, cores, caches, available memory.
#pragma once

#include "text/json.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace rapt::tools {

struct Machine {
  std::string cpu;  ///< the model's name, or "unknown"
  int cores = 1;    ///< hardware threads that this process may run on
  /// The CPU quota of the control groups, in cores; unset: none
  std::optional<double> cpu_quota{};
  std::int64_t l1d = 0;  ///< bytes per core; 0: unknown
  std::int64_t l2 = 0;
  std::int64_t l3 = 0;

  /// The requested number of threads (0: one per core), limited by the quota.
  int threads(int requested = 0) const;
};

/// Reads /proc and /sys; missing entries keep their defaults.
Machine describe_machine();

Json to_json(const Machine& machine);

/// "Intel(R) Xeon(R) Processor, 2 cores, L1d 48 KiB, L2 2 MiB, L3 32 MiB", with the quota after the
/// cores if there is one.
std::string sentence(const Machine& machine);

/// Bytes of the largest cache, or 32 MiB if unknown.
std::int64_t last_level_cache(const Machine& machine);

/// Bytes that can be allocated without swapping, within the limit of a control group; INT64_MAX if
/// unknown.
std::int64_t available_memory();

/// Throws Error{out_of_memory} naming `what`, the required and the available bytes, if `bytes`
/// exceed available_memory(): an error instead of a process killed later.
void require_memory(double bytes, const std::string& what);

}  // namespace rapt::tools
