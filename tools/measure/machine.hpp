// The machine as a report names it: CPU, cores, caches, memory that may still be used.
#pragma once

#include "text/json.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace rapt::tools {

struct Machine {
  std::string cpu;  ///< the model's name, "unknown" when the system does not tell
  int cores = 1;    ///< hardware threads that this process may run on
  /// Of how many the control groups leave it the time; unset: all
  std::optional<double> cpu_quota{};
  std::int64_t l1d = 0;  ///< bytes per core of the caches; 0: not known
  std::int64_t l2 = 0;
  std::int64_t l3 = 0;

  /// The requested number of threads (0: one per core), but no more than the quota allows.
  int threads(int asked = 0) const;
};

/// Reads /proc and /sys; what is missing there keeps its default.
Machine describe_machine();

Json to_json(const Machine& machine);

/// "Intel(R) Xeon(R) Processor, 2 cores, L1d 48 KiB, L2 2 MiB, L3 32 MiB"; behind the cores the
/// quota, if there is one.
std::string sentence(const Machine& machine);

/// Bytes of the largest cache, or 32 MiB when the system does not tell.
std::int64_t last_level_cache(const Machine& machine);

/// Bytes that can be allocated without swapping, the limit of a control group included; INT64_MAX
/// when the system does not tell.
std::int64_t available_memory();

/// Throws Error{out_of_memory} naming `what`, the need and the supply, when `bytes` exceed
/// available_memory(): a size that cannot be had is a sentence, not a process killed halfway.
void require_memory(double bytes, const std::string& what);

}  // namespace rapt::tools
