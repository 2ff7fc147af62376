// `rapt tune`: measures which numbers of a tuning are faster on this machine, and writes them to a
// file that the library reads.
#include "command/commands.hpp"
#include "command/isa_flag.hpp"
#include "command/output_file.hpp"
#include "dispatch/machine_id.hpp"
#include "dispatch/tuning.hpp"
#include "dispatch/tuning_fields.hpp"
#include "formats/tuning_file.hpp"
#include "formats/write_file.hpp"
#include "measure/isas.hpp"
#include "measure/machine.hpp"
#include "measure/tuning_search.hpp"
#include "text/json.hpp"
#include "text/output.hpp"
#include "text/printable.hpp"
#include "text/usage_error.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

namespace rapt::tools {
namespace {

struct TuneFlags {
  std::string isa = "active";
  int threads = 0;
  double seconds = 90;
  std::string output;
  bool dry_run = false;
  bool json = false;
};

/// The file to write: of the flag, of RAPT_TUNING, or of the user's cache directory.
std::string output_path(const TuneFlags& flags) {
  if (flags.dry_run) return "";
  if (!flags.output.empty()) return flags.output;
  const char* const named = std::getenv("RAPT_TUNING");
  if (named != nullptr && *named != '\0' && std::string(named) != "off") return named;
  std::string path = dispatch::user_tuning_path();
  if (path.empty()) {
    throw UsageError("--output: needed where neither XDG_CACHE_HOME nor HOME names a directory");
  }
  // Before measuring; check_writable() reports a failure.
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  return path;
}

/// Only numbers that differ from their defaults: the others follow those of later versions.
template <class Row>
Json numbers_of(std::span<const dispatch::TuningField<Row>> fields, const Row& row,
                const Row& usual) {
  Json json(std::initializer_list<Json::Member>{});
  for (const auto& field : fields) {
    if (row.*field.number != usual.*field.number) json[field.name] = row.*field.number;
  }
  return json;
}

/// While the defaults are set.
std::string file_text(const TuningResult& result) {
  Json json = {{"rapt_tuning", io::kTuningVersion},
               {"machine", dispatch::machine_id()},
               {"call", numbers_of(dispatch::call_fields(), result.call, tuning::CallTuning())}};
  for (const TunedIsa& tuned : result.isas) {
    json[isa_name(tuned.isa)] = numbers_of(dispatch::kernel_fields(), tuned.tuning,
                                           dispatch::tuned_kernels(tuned.isa).tuning);
  }
  return json.text() + "\n";
}

std::string last_sentence(const std::string& path) {
  std::string written = "Nothing was written.";
  if (!path.empty()) {
    const bool is_found = path == dispatch::user_tuning_path();
    written = fmt::format("Written to {}{}.", printable(path),
                          is_found ? "" : ", which programs read if RAPT_TUNING names it");
  }
  return written + " No result changes, whatever the file says: a tuning changes the speed alone.";
}

std::string report(const Machine& machine, const TuningResult& result, const std::string& path) {
  std::string text = sentence(machine) + "\n\n";
  text += fmt::format("{:<7} {:<28} {:>8} {:>8} {:>7}  {}\n", "section", "number", "default",
                      "chosen", "rounds", "others, and their time of the default's");
  for (const TriedNumber& tried : result.tried) {
    std::string others;
    for (const TriedValue& other : tried.others) {
      others += fmt::format("{}{} {:.3f}", others.empty() ? "" : ", ", other.value, other.ratio);
    }
    text += fmt::format("{:<7} {:<28} {:>8} {:>8} {:>7}  {}\n", tried.section, tried.name,
                        tried.usual, tried.chosen, tried.rounds, others);
  }
  return text + "\n" + last_sentence(path) + "\n";
}

std::string report_json(const Machine& machine, const TuningResult& result,
                        const std::string& path) {
  Json json = {{"machine", to_json(machine)}, {"tried", Json::list()}};
  json["written"] = path.empty() ? Json() : Json(path);
  for (const TriedNumber& tried : result.tried) {
    Json others = Json::list();
    for (const TriedValue& other : tried.others) {
      others.push_back({{"value", other.value}, {"ratio", other.ratio}});
    }
    json["tried"].push_back({{"section", tried.section},
                             {"number", tried.name},
                             {"default", tried.usual},
                             {"chosen", tried.chosen},
                             {"rounds", tried.rounds},
                             {"others", others}});
  }
  return json.text();
}

void tune(const TuneFlags& flags) {
  // What is measured is compared with the defaults; the file in use, which may be wrong or not yet
  // there, is not read.
  dispatch::set_default_tuning();
  const std::vector<Isa> isas = chosen_isas("--isa", flags.isa);
  const std::string path = output_path(flags);
  check_output("--output", path, {});
  check_writable(path);
  const Machine machine = describe_machine();
  const TuningResult result = search_tuning(
      machine, {.isas = isas, .threads = machine.threads(flags.threads), .seconds = flags.seconds});
  if (!path.empty()) io::write_file(path, {file_text(result)});
  print_out(flags.json ? report_json(machine, result, path) : report(machine, result, path));
}

}  // namespace

void add_tune(CommandLine& line) {
  Command command =
      line.add("tune", "measure which numbers of the tuning are faster here, and write them down");
  const auto flags = std::make_shared<TuneFlags>();
  command.text("--isa", flags->isa, isa_flag_help("active, or all"));
  command.number(
      "--threads", flags->threads, {0, 1024},
      "threads of what depends on them; 0: one per core; no more than a CPU quota allows");
  command.number("--seconds", flags->seconds, {0.0, 86400.0}, "the time for all measurements");
  command
      .file("--output", flags->output,
            "the file to write; programs read it where RAPT_TUNING names it")
      .default_text("that of RAPT_TUNING, else of the user's cache directory");
  command.flag("--dry-run", flags->dry_run, "write nothing").excludes("--output");
  command.flag("--json", flags->json, "print JSON");
  command.run([flags] {
    tune(*flags);
    return 0;
  });
}

}  // namespace rapt::tools
