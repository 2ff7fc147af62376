// Finds conformance cases below a folder and runs each on several implementations.
#pragma once

#include "conformance/check_attention.hpp"
#include "conformance/check_compare.hpp"
#include "rapt/isa.hpp"

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace rapt::conformance {

/// One implementation of attention(), such as the library on one ISA.
struct Engine {
  std::string name;
  Attention attention;
  std::optional<Isa> isa{};  ///< forced while a case runs; unset: the active ISA
};

/// One wrong output, or a case that could not be run.
struct Failure {
  std::string engine;  ///< empty if the case could not be read
  std::string tensor;  ///< empty if nothing was compared
  std::optional<Mismatch> mismatch;
  std::string sentence;  ///< the failure, in one line
};

enum class Status { passed, failed, skipped };

struct CaseReport {
  std::filesystem::path folder;
  std::string name;  ///< from case.json, or the folder's name if that cannot be read
  std::string suite;
  std::string op;
  std::vector<std::string> needs;  ///< options that Rapt lacks; not empty: skipped
  std::vector<Failure> failures;
  double used_bound = 0;  ///< the largest error relative to its bound, of outputs within theirs

  Status status() const {
    if (!failures.empty()) return Status::failed;
    return needs.empty() ? Status::passed : Status::skipped;
  }
};

/// Every folder with a case.json in `root` and below it, sorted by path; links to folders are not
/// followed. Throws Error{file_error} naming `root` if it is not a readable folder.
std::vector<std::filesystem::path> find_cases(const std::filesystem::path& root);

/// Runs the case in `folder` on every engine. All errors, including a malformed case, become
/// failures in the report; nothing is thrown.
CaseReport check_case(const std::filesystem::path& folder, std::span<const Engine> engines);

}  // namespace rapt::conformance
