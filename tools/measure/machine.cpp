// Reads the machine's properties from Linux's /proc and /sys.
#include "measure/machine.hpp"

#include "core/counted.hpp"
#include "measure/cpu_quota.hpp"
#include "rapt/error.hpp"
#include "text/printable.hpp"
#include "text/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sched.h>
#include <thread>

namespace rapt::tools {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The value of `key` in a file of lines "key : value", or "".
std::string field_of(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind(key, 0) != 0) continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

/// A decimal number at the start of `text` with an optional K or M, in bytes; 0 if there is none.
std::int64_t parse_size(const std::string& text) {
  std::int64_t value = 0;
  std::size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9' && i < 18; ++i) {
    value = value * 10 + (text[i] - '0');
  }
  if (i < text.size() && (text[i] == 'K' || text[i] == 'k')) value *= 1024;
  if (i < text.size() && text[i] == 'M') value *= 1024 * 1024;
  return value;
}

void read_caches(Machine& machine) {
  for (int index = 0; index < 8; ++index) {
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/", index);
    const std::string level = first_line(folder + "level");
    if (level.empty()) return;
    if (first_line(folder + "type") == "Instruction") continue;
    const std::int64_t size = parse_size(first_line(folder + "size"));
    if (level == "1") machine.l1d = size;
    if (level == "2") machine.l2 = size;
    if (level == "3") machine.l3 = size;
  }
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

Machine describe_machine() {
  Machine machine;
  machine.cpu = field_of("/proc/cpuinfo", "model name");
  // Linux on aarch64 has numbers; a name only if the firmware has a device tree.
  if (machine.cpu.empty()) machine.cpu = first_line("/sys/firmware/devicetree/base/model");
  if (machine.cpu.empty()) {
    const std::string implementer = field_of("/proc/cpuinfo", "CPU implementer");
    const std::string part = field_of("/proc/cpuinfo", "CPU part");
    machine.cpu = implementer.empty()
                      ? "unknown"
                      : fmt::format("ARM implementer {} part {}", implementer, part);
  }
  machine.cpu = printable(machine.cpu);
  machine.cores = usable_cores();
  machine.cpu_quota = cpu_quota();
  read_caches(machine);
  return machine;
}

int Machine::threads(int requested) const {
  return threads_within(cpu_quota, requested == 0 ? cores : requested);
}

Json to_json(const Machine& machine) {
  return {
      {"cpu", machine.cpu},           {"cores", machine.cores},   {"cpu_quota", machine.cpu_quota},
      {"threads", machine.threads()}, {"l1d_bytes", machine.l1d}, {"l2_bytes", machine.l2},
      {"l3_bytes", machine.l3}};
}

std::string sentence(const Machine& machine) {
  std::string text = fmt::format("{}, {}", machine.cpu, core::counted(machine.cores, "core"));
  if (machine.cpu_quota) text += fmt::format(", CPU quota {:.4g}", *machine.cpu_quota);
  if (machine.l1d > 0) text += ", L1d " + format_bytes(machine.l1d);
  if (machine.l2 > 0) text += ", L2 " + format_bytes(machine.l2);
  if (machine.l3 > 0) text += ", L3 " + format_bytes(machine.l3);
  return text;
}

std::int64_t last_level_cache(const Machine& machine) {
  const std::int64_t largest = std::max({machine.l1d, machine.l2, machine.l3});
  return largest > 0 ? largest : std::int64_t{32} << 20;
}

std::int64_t available_memory() {
  std::int64_t bytes = std::numeric_limits<std::int64_t>::max();
  const std::int64_t kibibytes = parse_size(field_of("/proc/meminfo", "MemAvailable"));
  if (kibibytes > 0) bytes = kibibytes * 1024;
  const std::string limit = first_line("/sys/fs/cgroup/memory.max");
  if (!limit.empty() && limit != "max") {
    const std::int64_t used = parse_size(first_line("/sys/fs/cgroup/memory.current"));
    bytes = std::min(bytes, std::max<std::int64_t>(0, parse_size(limit) - used));
  }
  return bytes;
}

void require_memory(double bytes, const std::string& what) {
  const std::int64_t available = available_memory();
  if (bytes <= static_cast<double>(available)) return;
  throw Error(ErrorCode::out_of_memory,
              fmt::format("{}: {:.3g} GB of memory are needed, {:.3g} GB are available", what,
                          bytes / 1e9, static_cast<double>(available) / 1e9));
}

}  // namespace rapt::tools
