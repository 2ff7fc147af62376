// Reads config.json as untrusted input, like the weights.
#include "weights/model_config.hpp"

#include "rapt/error.hpp"
#include "text/printable.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <system_error>
#include <utility>

namespace rapt::tools {
namespace {

/// Larger than any count in a layer, and far from overflow.
constexpr std::int64_t kMaxCounted = std::int64_t{1} << 24;

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorCode::malformed_file, "config.json beside the weights: " + why);
}

/// "head_dim 8"; a long value is cut.
std::string shown_field(std::string_view field, const nlohmann::json& value) {
  constexpr std::size_t kMaxShown = 60;
  std::string text = value.is_structured()
                         ? (value.is_array() ? "[...]" : "{...}")
                         : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "...";
  return fmt::format("{} {}", field, printable(text));
}

[[noreturn]] void refuse_field(std::string_view field, const nlohmann::json& value,
                               std::string_view wanted) {
  refuse(fmt::format("{} is not {}", shown_field(field, value), wanted));
}

std::string text_of(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) refuse("it is no regular file");
  constexpr std::streamsize kMaxBytes = 4 << 20;
  std::string text(kMaxBytes + 1, '\0');
  std::ifstream file(path);
  if (!file) refuse("it cannot be opened");
  file.read(text.data(), kMaxBytes + 1);
  if (file.gcount() > kMaxBytes) refuse("it is larger than 4 MiB");
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

constexpr const char* kTextPart = "text_config";

std::string part_of(std::string_view prefix) {
  if (contains(prefix, "vision") || contains(prefix, "visual")) return "vision_config";
  return contains(prefix, "audio") ? "audio_config" : kTextPart;
}

const nlohmann::json* find_in(const nlohmann::json& object, std::string_view field) {
  const nlohmann::json* at = &object;
  while (!field.empty()) {
    const auto dot = std::min(field.find('.'), field.size());
    if (!at->is_object()) return nullptr;
    const auto found = at->find(std::string(field.substr(0, dot)));
    if (found == at->end() || found->is_null()) return nullptr;
    at = &*found;
    field.remove_prefix(std::min(dot + 1, field.size()));
  }
  return at;
}

/// Letters and digits only, in lower case; the first 64, more than any family name has.
std::string plain(std::string_view name) {
  std::string letters;
  for (const char c : name.substr(0, 64)) {
    if (c >= 'A' && c <= 'Z') letters += static_cast<char>(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) letters += c;
  }
  return letters;
}

}  // namespace

ModelConfig ModelConfig::beside(const std::string& weights, const std::string& prefix) {
  const std::filesystem::path path = config_next_to(weights);
  std::error_code unreachable;
  ModelConfig config;
  if (!std::filesystem::exists(path, unreachable)) return config;
  config.whole_ =
      std::make_shared<nlohmann::json>(nlohmann::json::parse(text_of(path), nullptr, false));
  if (!config.whole_->is_object()) refuse("it is no JSON object");
  config.part_ = part_of(prefix);
  return config;
}

const nlohmann::json* ModelConfig::find(std::string_view field) const {
  if (whole_ == nullptr) return nullptr;
  const nlohmann::json* part = find_in(*whole_, part_);
  if (part == nullptr && part_ == kTextPart) part = find_in(*whole_, "llm_config");
  if (part == nullptr) return find_in(*whole_, field);
  const nlohmann::json* const found = find_in(*part, field);
  // Outer fields describe the text model, or all parts; for another part they may be wrong.
  return found == nullptr && part_ == kTextPart ? find_in(*whole_, field) : found;
}

bool ModelConfig::has(std::string_view field) const { return find(field) != nullptr; }

bool ModelConfig::is_on(std::string_view field) const {
  const nlohmann::json* const value = find(field);
  return value != nullptr && *value != false && *value != 0;
}

bool ModelConfig::says(std::string_view field, std::int64_t number) const {
  const nlohmann::json* const value = find(field);
  return value != nullptr && *value == number;
}

std::string ModelConfig::shown(std::string_view field) const {
  const nlohmann::json* const value = find(field);
  return value == nullptr ? "" : shown_field(field, *value);
}

std::optional<std::int64_t> ModelConfig::size(std::string_view field) const {
  const nlohmann::json* const value = find(field);
  if (value == nullptr || !value->is_number_unsigned()) return std::nullopt;
  const auto number = value->get<std::uint64_t>();
  if (number < 1 || number > (std::uint64_t{1} << 62)) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::string ModelConfig::word_at(std::string_view field, std::int64_t index) const {
  const nlohmann::json* const list = find(field);
  if (list == nullptr || !list->is_array() || index < 0) return "";
  const auto place = static_cast<std::size_t>(index);
  if (place >= list->size() || !(*list)[place].is_string()) return "";
  return (*list)[place].get<std::string>();
}

std::string ModelConfig::family() const {
  if (const auto type = word("model_type")) return plain(*type);
  const nlohmann::json* const names = find("architectures");
  if (names == nullptr || !names->is_array() || names->empty()) return "";
  if (!names->front().is_string()) refuse_field("architectures", *names, "a list of words");
  std::string name = names->front().get<std::string>();
  for (const char* const end : {"For", "LMHead", "Model"}) {
    name.resize(std::min(name.find(end), name.size()));
  }
  return plain(name);
}

std::optional<std::int64_t> ModelConfig::count(
    std::initializer_list<std::string_view> fields) const {
  std::optional<std::int64_t> count;
  std::string_view first;
  for (const std::string_view field : fields) {
    const nlohmann::json* const value = find(field);
    if (value == nullptr) continue;
    // A number beyond 64 bits is read as floating-point; unsigned ones may exceed int64.
    const bool whole = value->is_number_unsigned() &&
                       value->get<std::uint64_t>() <= static_cast<std::uint64_t>(kMaxCounted);
    if (!whole || value->get<std::int64_t>() < 1) {
      refuse_field(field, *value, fmt::format("a whole number from 1 to {}", kMaxCounted));
    }
    if (count && *count != value->get<std::int64_t>()) {
      refuse(fmt::format("{} contradicts {} {}", shown_field(field, *value), first, *count));
    }
    if (!count) first = field;
    count = value->get<std::int64_t>();
  }
  return count;
}

std::optional<double> ModelConfig::number(std::string_view field) const {
  const nlohmann::json* const value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() ||
      !(std::fabs(value->get<double>()) <= double{std::numeric_limits<float>::max()})) {
    refuse_field(field, *value, "a number that a float can hold");
  }
  return value->get<double>();
}

std::optional<bool> ModelConfig::flag(std::string_view field) const {
  const nlohmann::json* const value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) refuse_field(field, *value, "true or false");
  return value->get<bool>();
}

std::optional<std::string> ModelConfig::word(std::string_view field) const {
  const nlohmann::json* const value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse_field(field, *value, "a word");
  return value->get<std::string>();
}

std::string config_next_to(const std::string& path) {
  return (std::filesystem::path(path).parent_path() / "config.json").string();
}

std::optional<std::int64_t> layer_number(std::string_view prefix) {
  std::optional<std::int64_t> number;
  while (!prefix.empty()) {
    const auto dot = std::min(prefix.find('.'), prefix.size());
    const std::string_view part = prefix.substr(0, dot);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error == std::errc() && end == part.data() + part.size() && value >= 0) number = value;
    prefix.remove_prefix(std::min(dot + 1, prefix.size()));
  }
  return number;
}

}  // namespace rapt::tools
