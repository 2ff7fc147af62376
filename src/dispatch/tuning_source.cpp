#include "dispatch/tuning_source.hpp"

#include "dispatch/machine_id.hpp"
#include "dispatch/tuning_fields.hpp"
#include "formats/malformed.hpp"
#include "formats/tuning_file.hpp"
#include "rapt/error.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <sys/stat.h>
#include <vector>

namespace rapt::dispatch {
namespace {

std::string text_of(const TuningRange& range) {
  return (range.unit == 1 ? "from " : "a multiple of " + std::to_string(range.unit) + " from ") +
         std::to_string(range.least) + " to " + std::to_string(range.most);
}

/// A file whose numbers are checked against their ranges.
class CheckedFile {
 public:
  explicit CheckedFile(const std::string& path) : path_(path), file_(io::read_tuning_file(path)) {
    const std::string here = machine_id();
    if (file_.machine == here) return;
    throw Error(ErrorCode::invalid_argument, path_ + ": machine is " + io::quote(file_.machine) +
                                                 ", but this one is " + io::quote(here));
  }

  void apply(TunedKernels& tuned) const {
    TunedKernels changed = tuned;
    for (const io::TuningNumber& number : file_.numbers) {
      if (number.section == "call") {
        set(number, call_fields(), &changed.call,
            [](const auto& field) { return range_of(field); });
        continue;
      }
      kernels::KernelSet& kernels = changed.of(isa_of(number));
      set(number, kernel_fields(), kernels.name == nullptr ? nullptr : &kernels.tuning,
          [&](const auto& field) { return range_of(field, kernels.tiles); });
    }
    tuned = changed;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::malformed_file, path_ + ": " + what);
  }

  Isa isa_of(const io::TuningNumber& number) const {
    try {
      return parse_isa(number.section);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::out_of_memory) throw;
      fail("unknown section " + io::quote(number.section) + ", which is neither call nor an ISA");
    }
  }

  /// row: null for an ISA that this library does not have, of which any name is right.
  template <class Row, class RangeOf>
  void set(const io::TuningNumber& number, std::span<const TuningField<Row>> fields, Row* row,
           const RangeOf& range_of_field) const {
    const std::string name = number.section + "." + number.name;
    const auto field = std::ranges::find(fields, number.name, &TuningField<Row>::name);
    if (field == fields.end()) fail("unknown key " + io::quote(name));
    if (row == nullptr) return;
    const TuningRange range = range_of_field(*field);
    if (!range.has(number.value)) {
      fail(io::quote(name) + " is " + std::to_string(number.value) + ", but must be " +
           text_of(range));
    }
    row->*field->number = number.value;
  }

  const std::string& path_;
  io::TuningFile file_;
};

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

TuningSource read_named(const std::string& path, TunedKernels& tuned) {
  try {
    CheckedFile(path).apply(tuned);
    return {path, ""};
  } catch (const Error& error) {
    throw Error(error.code(), std::string("RAPT_TUNING: ") + error.what());
  }
}

}  // namespace

std::string user_tuning_path() {
  std::string folder = variable("XDG_CACHE_HOME");
  // Relative paths are to be ignored, says the XDG base directory specification.
  if (folder.empty() || folder.front() != '/') {
    folder = variable("HOME");
    if (folder.empty() || folder.front() != '/') return "";
    folder += "/.cache";
  }
  return folder + "/rapt/tuning.json";
}

TuningSource read_tuning(TunedKernels& tuned) {
  if (std::getenv("RAPT_TUNING") != nullptr) {
    const std::string named = variable("RAPT_TUNING");
    return named.empty() || named == "off" ? TuningSource() : read_named(named, tuned);
  }
  const std::string path = user_tuning_path();
  struct stat status {};
  if (path.empty() || ::stat(path.c_str(), &status) != 0) return {};
  try {
    CheckedFile(path).apply(tuned);
    return {path, ""};
  } catch (const Error& error) {
    if (error.code() == ErrorCode::out_of_memory) throw;
    return {"", error.what()};
  }
}

}  // namespace rapt::dispatch
