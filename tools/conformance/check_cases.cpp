#include "conformance/check_cases.hpp"

#include "conformance/conformance_case.hpp"
#include "rapt/error.hpp"

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

namespace rapt::conformance {
namespace {

namespace fs = std::filesystem;

/// Forces the engine's ISA, for operators that are separate functions.
class EngineIsa {
 public:
  explicit EngineIsa(const Engine& engine) : forced_(engine.isa.has_value()) {
    if (forced_) force_isa(*engine.isa);
  }
  ~EngineIsa() {
    if (forced_) reset_isa();
  }
  EngineIsa(const EngineIsa&) = delete;
  EngineIsa& operator=(const EngineIsa&) = delete;

 private:
  bool forced_;
};

/// Adds the outcome of the case on one engine.
void add_outcome(CaseReport& report, const Engine& engine, Outcome outcome) {
  report.needs = std::move(outcome.needs);
  for (const Comparison& comparison : outcome.comparisons) {
    report.used_bound = std::max(report.used_bound, comparison.used_bound);
    if (comparison.mismatch) {
      report.failures.push_back({engine.name, comparison.tensor, comparison.mismatch,
                                 to_text(comparison.tensor, *comparison.mismatch)});
    }
  }
}

}  // namespace

std::vector<fs::path> find_cases(const fs::path& root) {
  std::vector<fs::path> folders;
  std::error_code error;
  if (fs::exists(root / "case.json", error)) folders.push_back(root);
  fs::recursive_directory_iterator entries(root, error);
  for (const fs::recursive_directory_iterator end; !error && entries != end;) {
    std::error_code unreadable;
    const fs::path& path = entries->path();
    const bool folder = entries->is_directory(unreadable) && !entries->is_symlink(unreadable);
    if (folder && fs::exists(path / "case.json", unreadable)) folders.push_back(path);
    entries.increment(error);
  }
  if (error) {
    throw Error(ErrorCode::file_error, root.string() + ": cannot be walked: " + error.message());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

CaseReport check_case(const fs::path& folder, std::span<const Engine> engines) {
  CaseReport report;
  report.folder = folder;
  report.name = (folder.has_filename() ? folder : folder.parent_path()).filename().string();
  try {
    const Case facts = read_case(folder);
    report.name = facts.name;
    report.suite = facts.suite;
    report.op = facts.op;
    for (const Engine& engine : engines) {
      try {
        const EngineIsa forced(engine);
        add_outcome(report, engine, run_case(facts, engine.attention));
      } catch (const std::exception& error) {
        report.failures.push_back({engine.name, "", std::nullopt, error.what()});
      }
    }
  } catch (const std::exception& error) {
    report.failures.push_back({"", "", std::nullopt, error.what()});
  }
  return report;
}

}  // namespace rapt::conformance
