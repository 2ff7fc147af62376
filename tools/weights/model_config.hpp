// The config.json next to a file of weights.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rapt::tools {

/// Fields are looked up in the object for the part of the model that the layer's prefix names
/// ("vision_config" for a prefix with "vision" or "visual", "audio_config" for one with "audio",
/// otherwise "text_config" or "llm_config"), then in the outermost object if there is no such
/// object, or if it is the text's and lacks the field. A field that is null counts as missing. A
/// dot selects a member of an object: "attn_config.alibi".
class ModelConfig {
 public:
  /// The config.json in the folder of `weights`; an empty one if there is none. Throws
  /// Error{malformed_file} if it is not a JSON object, not a regular file, or larger than 4 MiB.
  static ModelConfig beside(const std::string& weights, const std::string& prefix);

  /// Whether there is a config.json that describes the layer.
  bool exists() const noexcept { return whole_ != nullptr; }

  /// Drops everything: the file describes another part of the model.
  void forget() { *this = ModelConfig(); }

  /// The model_type, otherwise the first of the architectures up to "For", "LMHead" or "Model"; in
  /// lower case, letters and digits only ("gptneox"); "" if neither is given.
  std::string family() const;

  /// Whether the field exists and enables something: neither false nor 0.
  bool has(std::string_view field) const;
  bool is_on(std::string_view field) const;

  /// Whether the field exists and equals `number`.
  bool says(std::string_view field, std::int64_t number) const;

  /// The field for reports and errors, "head_dim 8"; a long value is cut. "" if it is missing.
  std::string shown(std::string_view field) const;

  /// The value of a field that is an integer from 1 to 2^62; unset for all others.
  std::optional<std::int64_t> size(std::string_view field) const;

  /// The word at index `index` of a field that is a list; "" if there is none.
  std::string word_at(std::string_view field, std::int64_t index) const;

  /// The common value of those of `fields` that exist. These four throw Error{malformed_file}
  /// naming the field and its value if that has another type or is out of range, and if two fields
  /// disagree.
  std::optional<std::int64_t> count(std::initializer_list<std::string_view> fields) const;
  std::optional<double> number(std::string_view field) const;
  std::optional<bool> flag(std::string_view field) const;
  std::optional<std::string> word(std::string_view field) const;

 private:
  /// nullptr if the field is missing.
  const nlohmann::json* find(std::string_view field) const;

  std::shared_ptr<const nlohmann::json> whole_;  ///< nullptr: there is no config.json
  std::string part_;                             ///< the name of the object that is searched first
};

/// The path of the config.json next to the file at `path`, whether or not it exists.
std::string config_next_to(const std::string& path);

/// The number of the layer in `prefix`, its last numeric part: "model.layers.3.self_attn" is 3.
std::optional<std::int64_t> layer_number(std::string_view prefix);

}  // namespace rapt::tools
