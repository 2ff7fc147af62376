// Parsed event by event, as the header of .safetensors is: hostile nesting ends at the first
// bracket too many.
#include "formats/tuning_file.hpp"

#include "formats/malformed.hpp"
#include "formats/small_file.hpp"
#include "rapt/error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>

namespace rapt::io {
namespace {

/// Of sections and of numbers, so that finding duplicates takes no time in a hostile file.
constexpr std::size_t kMost = 1000;

/// Receives the parser's events. Each handler throws where the grammar does not allow its event.
class TuningEvents final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit TuningEvents(const std::string& path) : path_(path) {}

  TuningFile finish() {
    if (!version_) fail("has no \"rapt_tuning\"");
    if (!machine_) fail("has no \"machine\"");
    file_.machine = std::move(*machine_);
    return std::move(file_);
  }

  bool start_object(std::size_t) override {
    if (depth_ == 2 || is_header()) refuse("an object");
    if (depth_ == 1) {
      if (std::ranges::find(sections_, key_) != sections_.end()) fail_twice();
      if (sections_.size() == kMost) fail("has more than " + std::to_string(kMost) + " sections");
      sections_.push_back(key_);
    }
    ++depth_;
    return true;
  }

  bool end_object() override {
    --depth_;
    return true;
  }

  bool key(std::string& text) override {
    key_ = text;
    return true;
  }

  bool string(std::string& text) override {
    if (depth_ != 1 || key_ != "machine") refuse("the string " + quote(text));
    if (machine_) fail_twice();
    machine_ = text;
    return true;
  }

  bool number_integer(std::int64_t number) override {
    if (depth_ == 0 || (depth_ == 1 && key_ != "rapt_tuning")) {
      refuse("the number " + std::to_string(number));
    }
    if (depth_ == 1) {
      if (version_) fail_twice();
      if (number != kTuningVersion) {
        fail("rapt_tuning is " + std::to_string(number) + ", but this library reads version " +
             std::to_string(kTuningVersion));
      }
      version_ = number;
      return true;
    }
    const std::string& section = sections_.back();
    for (const TuningNumber& other : file_.numbers) {
      if (other.section == section && other.name == key_) fail_twice();
    }
    if (file_.numbers.size() == kMost) fail("has more than " + std::to_string(kMost) + " numbers");
    file_.numbers.push_back({section, key_, number});
    return true;
  }

  bool number_unsigned(std::uint64_t number) override {
    if (number > std::uint64_t{INT64_MAX}) refuse("the number " + std::to_string(number));
    return number_integer(static_cast<std::int64_t>(number));
  }

  bool number_float(double, const std::string& text) override {
    refuse("the number " + quote(text));
  }
  bool start_array(std::size_t) override { refuse("an array"); }
  bool end_array() override { return true; }
  bool null() override { refuse("null"); }
  bool boolean(bool value) override { refuse(value ? "true" : "false"); }
  bool binary(nlohmann::json::binary_t&) override { refuse("binary data"); }

  bool parse_error(std::size_t read, const std::string&,
                   const nlohmann::detail::exception&) override {
    fail("is not valid JSON in UTF-8 at byte " + std::to_string(read));
  }

 private:
  bool is_header() const { return depth_ == 1 && (key_ == "machine" || key_ == "rapt_tuning"); }

  /// "avx2.query_rows", "machine"
  std::string place() const {
    if (depth_ == 0) return "the file";
    return depth_ == 1 ? quote(key_) : quote(sections_.back() + "." + key_);
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::malformed_file, path_ + ": " + what);
  }
  [[noreturn]] void fail_twice() const { fail(place() + " is given twice"); }

  [[noreturn]] void refuse(const std::string& what) const {
    const char* const wanted = depth_ == 2             ? "a whole number"
                               : depth_ == 0           ? "an object"
                               : key_ == "machine"     ? "a string"
                               : key_ == "rapt_tuning" ? "a whole number"
                                                       : "an object of numbers";
    fail(place() + " must be " + wanted + ", found " + what);
  }

  const std::string& path_;
  int depth_ = 0;
  std::string key_;
  std::optional<std::int64_t> version_;
  std::optional<std::string> machine_;
  std::vector<std::string> sections_;
  TuningFile file_;
};

}  // namespace

TuningFile read_tuning_file(const std::string& path) {
  return reporting_out_of_memory(path, [&] {
    const std::string text = read_beginning(path, kTuningFileBytes + 1);
    if (text.size() > kTuningFileBytes) {
      throw Error(ErrorCode::file_error, path + ": has more than " +
                                             std::to_string(kTuningFileBytes) +
                                             " bytes, which no tuning file has");
    }
    TuningEvents events(path);
    nlohmann::json::sax_parse(text, &events);
    return events.finish();
  });
}

}  // namespace rapt::io
