// `rapt compare`: the same work on every ISA of this machine: speed, share of the peak, bits.
#include "command/commands.hpp"
#include "command/rounds.hpp"
#include "measure/cache_bits.hpp"
#include "text/output.hpp"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace rapt::tools {
namespace {

struct CompareFlags {
  std::vector<std::string> workloads;
  int threads = 1;
  std::int64_t repeat = 0;
  std::int64_t cache_tokens = 2048;
  bool json = false;
};

/// Sizes that the scalar kernels finish in about a second.
WorkShape moderate_shape(WorkKind kind) {
  WorkShape shape = default_shape(kind);
  switch (kind) {
    case WorkKind::attention:
      shape.heads = 6;
      shape.q_len = 384;
      break;
    case WorkKind::decode:
      shape.kv_len = 4096;
      break;
    case WorkKind::linear:
      shape.rows = 256;
      break;
    case WorkKind::mha:
      shape.q_len = 128;
      shape.model_dim = 512;
      shape.heads = 8;
      break;
  }
  return shape;
}

void run(const Command& command, const CompareFlags& flags) {
  std::vector<std::string> names = flags.workloads;
  if (names.empty()) names = {"attention", "linear", "mha"};
  std::vector<WorkShape> shapes;
  for (const std::string& name : names) {
    const bool preset = !name.empty() && name.front() >= 'A' && name.front() <= 'Z';
    shapes.push_back(completed(preset ? preset_shape(name) : moderate_shape(parse_kind(name))));
  }
  RoundOptions options;
  options.isas = available_isas();
  options.threads = describe_machine().threads(flags.threads);
  options.seconds = 0.7;
  if (command.has("--repeat")) options.repeat = flags.repeat;
  BenchReport report = measure_rounds(shapes, options);
  report.cache = compare_cache_bits({.tokens = flags.cache_tokens}, options.isas);
  print_out(flags.json ? to_json_text(report) : to_table(report));
  if (!report.bits_equal) {
    throw std::runtime_error("compare: the bits of a result differ between instruction sets");
  }
  if (!report.cache->different.empty()) {
    throw std::runtime_error("compare: the bits of a cache differ from those of one tensor");
  }
}

}  // namespace

void add_compare(CommandLine& line) {
  Command command =
      line.add("compare", "the same work on every instruction set: speed, share of the peak, bits");
  const auto flags = std::make_shared<CompareFlags>();
  command
      .texts("WORKLOAD", flags->workloads,
             "attention, decode, linear, mha in moderate sizes, or presets of `rapt bench`")
      .default_text("attention linear mha");
  command.number("--threads", flags->threads, {0, 1024},
                 "threads; 0: one per core; no more than a CPU quota allows");
  command.number("--repeat", flags->repeat, {1, 1000000}, "timed rounds")
      .default_text("until the median is known within 2 %, 0.7 s per workload and ISA at most");
  command.number("--cache-tokens", flags->cache_tokens, {1, std::int64_t{1} << 20},
                 "tokens of the stream whose cache is held against one tensor");
  command.flag("--json", flags->json, "print JSON");
  command.run([command, flags] {
    run(command, *flags);
    return 0;
  });
}

}  // namespace rapt::tools
