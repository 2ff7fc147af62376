// JSON for output: a value type that compiles quickly; only its text() uses the JSON library.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace rapt::tools {

/// null, a truth value, a number, a text, a list or an object:
///
///     Json json = {{"isa", "avx2"}, {"tiles", {{"rows", 6}, {"columns", 16}}}};
///     json["results"] = Json::list();
class Json {
 public:
  using Member = std::pair<std::string_view, Json>;

  Json(std::nullptr_t = nullptr) {}
  Json(std::same_as<bool> auto truth) : value_(truth) {}
  Json(std::signed_integral auto number) : value_(static_cast<std::int64_t>(number)) {}
  Json(std::unsigned_integral auto number) requires(!std::same_as<decltype(number), bool>)
      : value_(static_cast<std::uint64_t>(number)) {}
  Json(std::floating_point auto number) : value_(static_cast<double>(number)) {}
  Json(std::string text) : value_(std::move(text)) {}
  Json(std::string_view text) : value_(std::string(text)) {}
  Json(const char* text) : value_(std::string(text)) {}

  /// null if there is no value.
  template <class T>
  Json(const std::optional<T>& value) {
    if (value) *this = Json(*value);
  }

  /// A list.
  template <class T>
  Json(const std::vector<T>& values) {
    List list;
    for (const T& value : values) list.emplace_back(value);
    value_ = std::move(list);
  }

  /// An object.
  Json(std::initializer_list<Member> members);

  static Json list() { return Json(std::vector<Json>()); }

  /// A member of an object, null if new; null becomes an object.
  Json& operator[](std::string_view name);

  /// Appends to a list; null becomes one.
  void push_back(Json value);

  /// The last element of a list.
  Json& back();

  /// The text: two spaces per level, members of an object sorted by name. Invalid UTF-8, as in
  /// names and paths, is replaced.
  std::string text() const;

 private:
  using List = std::vector<Json>;
  struct Object {
    std::vector<std::string> names;
    std::vector<Json> values;
  };
  struct Writer;

  std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, List, Object>
      value_;
};

}  // namespace rapt::tools
