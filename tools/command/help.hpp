// The help of a command: a flag's argument is next to its name, and its default after what it
// means. Ranges of numbers are left out; the message of a number outside has them.
#pragma once

#include <CLI/CLI.hpp>

#include <set>
#include <string>

namespace rapt::tools {

class HelpFormatter : public CLI::Formatter {
 public:
  /// "INT", "{contiguous,paged}"; "..." for a positional that may be repeated.
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_positional()) return option->get_expected_max() > 1 ? "..." : "";
    if (option->get_type_size() == 0) return "";
    // The type and what checks the value, such as "INT:INT in [0 - 9]" or "TEXT:{a,b}".
    const std::string type = option->get_type_name();
    const auto choice = type.find(":{");
    return " " + (choice == type.npos ? type.substr(0, type.find(':')) : type.substr(choice + 1));
  }

  /// "the sentence (default: my name; not with --weights)".
  std::string make_option_desc(const CLI::Option* option) const override {
    std::string conditions;
    const auto add = [&](const char* words, const std::string& what) {
      if (!what.empty()) conditions += (conditions.empty() ? "" : "; ") + (words + what);
    };
    add("default: ", option->get_default_str());
    add("needs ", names(option->get_needs()));
    add("not with ", names(option->get_excludes()));
    if (conditions.empty()) return option->get_description();
    return option->get_description() + " (" + conditions + ")";
  }

 private:
  /// In the order of the alphabet: that of the set is the order of addresses.
  static std::string names(const std::set<CLI::Option*>& options) {
    std::set<std::string> sorted;
    for (const CLI::Option* option : options) sorted.insert(option->get_name());
    std::string text;
    for (const std::string& name : sorted) text += (text.empty() ? "" : ", ") + name;
    return text;
  }
};

}  // namespace rapt::tools
