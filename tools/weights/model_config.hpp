// What the config.json next to a file of weights says about the model.
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

/// The fields are looked for in the object for the part of the model that the layer's prefix names
/// ("vision_config" for a prefix with "vision" or "visual", "audio_config" for one with "audio",
/// otherwise "text_config" or "llm_config"), then, where there is no such object or it lacks the
/// field and is the text's, in the outermost one. A field that is null is not there. A dot goes
/// into an object: "attn_config.alibi".
class ModelConfig {
 public:
  /// The config.json in the folder of `weights`; an empty one when there is none. Throws
  /// Error{malformed_file} when it is no JSON object, no regular file or larger than 4 MiB.
  static ModelConfig beside(const std::string& weights, const std::string& prefix);

  /// Whether there is a config.json that speaks of the layer.
  bool exists() const noexcept { return whole_ != nullptr; }

  /// Drops everything: the file speaks of another part of the model.
  void forget() { *this = ModelConfig(); }

  /// The model_type, otherwise the first of the architectures up to "For", "LMHead" or "Model"; in
  /// lower case with letters and digits alone ("gptneox"), "" where neither is given.
  std::string family() const;

  /// Whether the field is there, and whether it switches something on: neither false nor 0.
  bool has(std::string_view field) const;
  bool is_on(std::string_view field) const;

  /// Whether the field is there and equals `number`.
  bool says(std::string_view field, std::int64_t number) const;

  /// The field as reports and errors show it, "head_dim 8"; a long value is cut. "" when it is not
  /// there.
  std::string shown(std::string_view field) const;

  /// The value of a field that is a whole number from 1 to 2^62; unset for every other one.
  std::optional<std::int64_t> size(std::string_view field) const;

  /// The word at place `index` of a field that is a list; "" when there is none.
  std::string word_at(std::string_view field, std::int64_t index) const;

  /// The value of those of `fields` that are there. These four throw Error{malformed_file} naming
  /// the field and what it holds when that is of another type or out of range, and where two fields
  /// disagree.
  std::optional<std::int64_t> count(std::initializer_list<std::string_view> fields) const;
  std::optional<double> number(std::string_view field) const;
  std::optional<bool> flag(std::string_view field) const;
  std::optional<std::string> word(std::string_view field) const;

 private:
  /// nullptr when the field is not there.
  const nlohmann::json* find(std::string_view field) const;

  std::shared_ptr<const nlohmann::json> whole_;  ///< nullptr: there is no config.json
  std::string part_;                             ///< the name of the object that is looked at first
};

/// The path of the config.json next to the file at `path`, whether or not it exists.
std::string config_beside(const std::string& path);

/// The number of the layer that `prefix` names, the last of its parts that is one:
/// "model.layers.3.self_attn" is 3.
std::optional<std::int64_t> layer_number(std::string_view prefix);

}  // namespace rapt::tools
