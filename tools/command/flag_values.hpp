// Valid values of flags: decimal numbers in a range, and file names.
#pragma once

#include "text/columns.hpp"
#include "text/printable.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>
#include <type_traits>

namespace rapt::tools {

/// A transform() for flags with a number of type `Number` in [least, most]. CLI11 alone accepts nan
/// in every range, 010 as eight, and a leading blank as in " 5".
template <class Number>
class NumberIn : public CLI::Validator {
 public:
  NumberIn(Number least, Number most) {
    func_ = [least, most](std::string& text) -> std::string {
      Number value{};
      const char* const end = text.data() + text.size();
      const auto [rest, error] = std::from_chars(text.data(), end, value);
      // Written so that NaN is out of range.
      if (error != std::errc() || rest != end || !(value >= least && value <= most)) {
        return fmt::format("{} is not a {}number from {} to {}", shortened(printable(text), 40),
                           std::is_integral_v<Number> ? "whole " : "", least, most);
      }
      text = fmt::format("{}", value);  // CLI11 parses it again, and would take 010 for eight
      return "";
    };
  }
};

using WholeNumber = NumberIn<std::int64_t>;
using RealNumber = NumberIn<double>;

/// A file name; "" is the default for no file and not accepted as a value.
class FileName : public CLI::Validator {
 public:
  FileName() {
    func_ = [](std::string& text) { return text.empty() ? "the name of a file is empty" : ""; };
  }
};

}  // namespace rapt::tools
