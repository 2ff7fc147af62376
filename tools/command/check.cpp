// `rapt check`: conformance cases on one ISA or on all, their report, and the exit status.
#include "command/commands.hpp"
#include "command/isa_flag.hpp"
#include "conformance/check_cases.hpp"
#include "measure/isas.hpp"
#include "rapt/attention.hpp"
#include "rapt/error.hpp"
#include "rapt/isa.hpp"
#include "rapt/ragged.hpp"
#include "text/json.hpp"
#include "text/lists.hpp"
#include "text/output.hpp"
#include "text/printable.hpp"
#include "text/usage_error.hpp"

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace rapt::tools {
namespace {

using conformance::CaseReport;
using conformance::Engine;
using conformance::Failure;
using conformance::Status;

struct Arguments {
  std::vector<std::string> folders;
  std::string isa = "active";
  bool json = false;
};

struct Counts {
  std::int64_t passed = 0;
  std::int64_t failed = 0;
  std::int64_t skipped = 0;

  void add(Status status) {
    passed += status == Status::passed ? 1 : 0;
    failed += status == Status::failed ? 1 : 0;
    skipped += status == Status::skipped ? 1 : 0;
  }
};

std::vector<Engine> engines_of(const std::vector<Isa>& isas) {
  std::vector<Engine> engines;
  for (const Isa isa : isas) {
    engines.push_back({std::string(isa_name(isa)),
                       [](const auto&... arguments) -> decltype(attention(arguments...)) {
                         attention(arguments...);
                       },
                       isa});
  }
  return engines;
}

std::vector<std::filesystem::path> all_cases(const std::vector<std::string>& folders) {
  std::vector<std::filesystem::path> cases;
  for (const std::string& folder : folders) {
    if (!std::filesystem::is_directory(folder)) {
      throw UsageError("DIR: " + printable(folder) + " is not a folder");
    }
    const auto found = conformance::find_cases(folder);
    if (found.empty()) {
      throw UsageError("DIR: " + printable(folder) + " has no case.json in it or below it");
    }
    cases.insert(cases.end(), found.begin(), found.end());
  }
  return cases;
}

/// The report lines of a case that did not pass; nothing for a case that did.
std::string lines_of(const CaseReport& report) {
  std::string lines;
  for (const Failure& failure : report.failures) {
    const std::string engine = failure.engine.empty() ? "" : " [" + failure.engine + "]";
    lines += printable("fail " + report.name + engine + ": " + failure.sentence) + "\n";
  }
  if (report.status() == Status::skipped) {
    lines += printable("skip " + report.name + ": needs " + joined(report.needs)) + "\n";
  }
  return lines;
}

/// A JSON number, or a string where JSON has no number.
Json number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

Json json_of(const CaseReport& report) {
  static constexpr const char* kWords[] = {"passed", "failed", "skipped"};
  Json entry = {{"name", report.name},
                {"folder", report.folder.string()},
                {"suite", report.suite},
                {"operator", report.op},
                {"status", kWords[static_cast<int>(report.status())]},
                {"used_bound", report.used_bound},
                {"needs", report.needs},
                {"failures", Json::list()}};
  for (const Failure& failure : report.failures) {
    Json item = {{"isa", failure.engine}, {"sentence", failure.sentence}};
    if (failure.mismatch) {
      item["tensor"] = failure.tensor;
      item["index"] = failure.mismatch->index;
      item["got"] = number(failure.mismatch->got);
      item["want"] = number(failure.mismatch->want);
      item["bound"] = number(failure.mismatch->bound);
      item["wrong"] = failure.mismatch->wrong;
      item["compared"] = failure.mismatch->compared;
    }
    entry["failures"].push_back(std::move(item));
  }
  return entry;
}

int check(const Arguments& arguments) {
  const std::vector<Isa> isas = chosen_isas("--isa", arguments.isa);
  const std::vector<Engine> engines = engines_of(isas);

  Counts counts;
  Json cases = Json::list();
  for (const std::filesystem::path& folder : all_cases(arguments.folders)) {
    const CaseReport report = conformance::check_case(folder, engines);
    counts.add(report.status());
    if (arguments.json) {
      cases.push_back(json_of(report));
    } else {
      print_out(lines_of(report));
    }
  }

  if (arguments.json) {
    Json names = Json::list();
    for (const Isa isa : isas) names.push_back(isa_name(isa));
    const Json all = {{"isas", names},
                      {"passed", counts.passed},
                      {"failed", counts.failed},
                      {"skipped", counts.skipped},
                      {"cases", cases}};
    print_out(all.text());
  } else {
    print_out(std::to_string(counts.passed) + " passed, " + std::to_string(counts.failed) +
              " failed, " + std::to_string(counts.skipped) + " skipped\n");
  }
  return counts.failed > 0 ? 1 : 0;
}

}  // namespace

void add_check(CommandLine& line) {
  const auto arguments = std::make_shared<Arguments>();
  Command command = line.add(
      "check",
      "conformance cases: a line per failure and per skip, then the counts; status 1 when a case "
      "failed");
  command.texts("DIR", arguments->folders, "folders that hold cases, at any depth")
      .required()
      .default_text("");
  command.text("--isa", arguments->isa,
               isa_flag_help("active, or all (a case must then pass on each)"));
  command.flag("--json", arguments->json, "print the report of every case as JSON");
  command.run([arguments] { return check(*arguments); });
}

}  // namespace rapt::tools
