// The JSON library does escapes, round-trip numbers, and the replacement of invalid bytes.
#include "text/json.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace rapt::tools {

struct Json::Writer {
  nlohmann::json operator()(const List& list) const {
    nlohmann::json json = nlohmann::json::array();
    for (const Json& value : list) json.push_back(std::visit(*this, value.value_));
    return json;
  }
  nlohmann::json operator()(const Object& object) const {
    nlohmann::json json = nlohmann::json::object();
    for (std::size_t i = 0; i < object.names.size(); ++i) {
      json[object.names[i]] = std::visit(*this, object.values[i].value_);
    }
    return json;
  }
  nlohmann::json operator()(const auto& value) const { return value; }
};

Json::Json(std::initializer_list<Member> members) {
  value_ = Object();
  for (const auto& [name, value] : members) (*this)[name] = value;
}

Json& Json::operator[](std::string_view name) {
  if (std::holds_alternative<std::nullptr_t>(value_)) value_ = Object();
  Object& object = std::get<Object>(value_);
  const auto place = std::find(object.names.begin(), object.names.end(), name);
  if (place != object.names.end()) {
    return object.values[static_cast<std::size_t>(place - object.names.begin())];
  }
  object.names.emplace_back(name);
  return object.values.emplace_back();
}

void Json::push_back(Json value) {
  if (std::holds_alternative<std::nullptr_t>(value_)) value_ = List();
  std::get<List>(value_).push_back(std::move(value));
}

Json& Json::back() { return std::get<List>(value_).back(); }

std::string Json::text() const {
  return std::visit(Writer(), value_)
             .dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

}  // namespace rapt::tools
