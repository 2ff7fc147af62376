// `rapt info`: the machine, the instruction sets of this build, and measured limits.
#include "command/commands.hpp"
#include "core/counted.hpp"
#include "dispatch/isa_table.hpp"
#include "dispatch/tuning.hpp"
#include "measure/bandwidth.hpp"
#include "measure/isas.hpp"
#include "measure/machine.hpp"
#include "measure/measure.hpp"
#include "rapt/version.hpp"
#include "text/json.hpp"
#include "text/output.hpp"
#include "text/printable.hpp"

#include <fmt/format.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace rapt::tools {
namespace {

struct Limits {
  std::vector<double> fma;  ///< FLOP/s per available ISA, one thread
  double read = 0;          ///< bytes per second, one thread
  bool read_is_memory = true;
  ReadWay way{1, 0};
};

/// Medians of interleaved rounds on one thread.
Limits measure_limits(const Machine& machine, const std::vector<Isa>& isas) {
  constexpr int kRounds = 7;
  Limits limits;
  oneapi::tbb::task_arena arena(1);
  arena.execute([&] {
    BandwidthMeter memory(last_level_cache(machine));
    limits.read_is_memory = memory.exceeds_cache();
    limits.way = memory.way();
    std::vector<std::vector<double>> fma(isas.size());
    std::vector<double> read;
    for (int round = 0; round < kRounds; ++round) {
      for (std::size_t i = 0; i < isas.size(); ++i) fma[i].push_back(measure_fma_peak(isas[i]));
      read.push_back(memory.measure());
    }
    for (const std::vector<double>& rates : fma) limits.fma.push_back(median(rates));
    limits.read = median(read);
  });
  return limits;
}

std::vector<std::string> names_of(std::span<const Isa> isas) {
  std::vector<std::string> names;
  for (const Isa isa : isas) names.emplace_back(isa_name(isa));
  return names;
}

std::string tuning_sentence() {
  const dispatch::TuningSource& source = dispatch::tuning_source();
  if (!source.path.empty()) return printable(source.path);
  return source.ignored.empty() ? "the defaults"
                                : "the defaults; ignored: " + printable(source.ignored);
}

std::string report(const Machine& machine, const std::vector<Isa>& isas, const Limits& limits) {
  std::string text = fmt::format("Rapt {}\n\n", version());
  text += fmt::format("CPU          {}\n", sentence(machine));
  text += fmt::format("CPU quota    {}, {} at most\n",
                      machine.cpu_quota ? fmt::format("{:.4g}", *machine.cpu_quota) : "none",
                      core::counted(machine.threads(), "thread"));
  text += fmt::format("ISAs         compiled {}\n", isa_list(compiled_isas()));
  text += fmt::format("             available {}\n", isa_list(isas));
  text += fmt::format("             active {}\n", isa_name(active_isa()));
  text += fmt::format("Tuning       {}\n\n", tuning_sentence());
  text += fmt::format("{:<8} {:>6} {:>14} {:>11} {:>22}\n", "isa", "lanes", "register tile",
                      "query rows", "FMA peak, one thread");
  for (const dispatch::IsaRow& row : dispatch::isa_table()) {
    const auto place = std::find(isas.begin(), isas.end(), row.isa);
    const kernels::KernelSet& set = dispatch::tuned_kernels(row.isa);
    const std::string peak =
        place == isas.end()
            ? "cannot run here"
            : fmt::format("{:.1f} GFLOP/s",
                          limits.fma[static_cast<std::size_t>(place - isas.begin())] * 1e-9);
    text += fmt::format("{:<8} {:>6} {:>14} {:>11} {:>22}\n", set.name, set.lanes,
                        fmt::format("{} x {}", set.tiles.rows, set.tiles.columns),
                        set.tuning.query_rows, peak);
  }
  return text + fmt::format("\n{} {:.1f} GB/s, one thread; {}\n",
                            limits.read_is_memory ? "Reading memory:" : "Reading a cache:",
                            limits.read * 1e-9, sentence(limits.way));
}

std::string report_json(const Machine& machine, const std::vector<Isa>& isas,
                        const Limits& limits) {
  Json json = {
      {"version", version()},
      {"machine", to_json(machine)},
      {"compiled", names_of(compiled_isas())},
      {"available", names_of(isas)},
      {"active", isa_name(active_isa())},
      {"tuning",
       {{"path", dispatch::tuning_source().path}, {"ignored", dispatch::tuning_source().ignored}}},
      {"peak",
       {{"threads", 1},
        {"fma_gflops", *std::max_element(limits.fma.begin(), limits.fma.end()) * 1e-9},
        {"read_gbs", limits.read * 1e-9},
        {"read_from_memory", limits.read_is_memory},
        {"read_loop", sentence(limits.way)}}}};
  for (const dispatch::IsaRow& row : dispatch::isa_table()) {
    const kernels::KernelSet& set = dispatch::tuned_kernels(row.isa);
    Json entry = {{"isa", set.name},
                  {"lanes", set.lanes},
                  {"tiles",
                   {{"rows", set.tiles.rows},
                    {"columns", set.tiles.columns},
                    {"query_rows", set.tuning.query_rows}}}};
    const auto place = std::find(isas.begin(), isas.end(), row.isa);
    entry["available"] = place != isas.end();
    if (place != isas.end()) {
      entry["fma_gflops"] = limits.fma[static_cast<std::size_t>(place - isas.begin())] * 1e-9;
    }
    json["isas"].push_back(entry);
  }
  return json.text();
}

}  // namespace

void add_info(CommandLine& line) {
  Command command = line.add(
      "info", "the CPU, the instruction sets of this build, tiles, caches, measured limits");
  const auto json = std::make_shared<bool>(false);
  command.flag("--json", *json, "print JSON");
  command.run([json] {
    const Machine machine = describe_machine();
    const std::vector<Isa> isas = available_isas();
    // Report a wrong RAPT_ISA or RAPT_TUNING before measuring anything.
    static_cast<void>(active_isa());
    static_cast<void>(dispatch::tuning_source());
    const Limits limits = measure_limits(machine, isas);
    print_out(*json ? report_json(machine, isas, limits) : report(machine, isas, limits));
    return 0;
  });
}

}  // namespace rapt::tools
