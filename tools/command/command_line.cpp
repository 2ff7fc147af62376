#include "command/command_line.hpp"

#include "text/columns.hpp"
#include "text/output.hpp"
#include "text/printable.hpp"
#include "text/usage_error.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <charconv>
#include <set>
#include <sstream>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rapt::tools {
namespace {

/// CLI11 alone takes nan for a number in every range, 010 for eight, and what is left of " 5".
template <class Number>
struct NumberIn : CLI::Validator {
  explicit NumberIn(Command::Range<Number> range) {
    func_ = [range](std::string& text) -> std::string {
      Number value{};
      const char* const end = text.data() + text.size();
      const auto [rest, error] = std::from_chars(text.data(), end, value);
      // Written so that NaN is outside.
      if (error != std::errc() || rest != end || !(value >= range.min && value <= range.max)) {
        return fmt::format("{} is not a {}number from {} to {}", shortened(printable(text), 40),
                           std::is_integral_v<Number> ? "whole " : "", range.min, range.max);
      }
      text = fmt::format("{}", value);  // CLI11 reads it again, and would take 010 for eight
      return "";
    };
  }
};

struct FileName : CLI::Validator {
  FileName() {
    func_ = [](std::string& text) { return text.empty() ? "the name of a file is empty" : ""; };
  }
};

/// The help of a command: a flag's argument is next to its name, and its default after what it
/// means. Ranges of numbers are left out; the message of a number outside has them.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(32); }  // the longest flag and its meaning are on one line

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

}  // namespace

Option& Option::default_text(const std::string& text) {
  option_->default_str(text);
  return *this;
}

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::needs(const std::string& name) {
  option_->needs(name);
  return *this;
}

Option& Option::excludes(const std::string& name) {
  option_->excludes(name);
  return *this;
}

Option Command::text(const std::string& name, std::string& value, const std::string& meaning) {
  return Option(app_->add_option(name, value, meaning));
}

Option Command::texts(const std::string& name, std::vector<std::string>& values,
                      const std::string& meaning) {
  return Option(app_->add_option(name, values, meaning));
}

Option Command::choice(const std::string& name, std::string& value,
                       const std::vector<std::string>& choices, const std::string& meaning) {
  return Option(app_->add_option(name, value, meaning)->check(CLI::IsMember(choices)));
}

Option Command::file(const std::string& name, std::string& value, const std::string& meaning) {
  return Option(app_->add_option(name, value, meaning)->default_str("none")->check(FileName()));
}

template <class Number>
Option Command::number(const std::string& name, Number& value, Range<Number> range,
                       const std::string& meaning) {
  return Option(app_->add_option(name, value, meaning)->transform(NumberIn(range)));
}
template Option Command::number(const std::string&, int&, Range<int>, const std::string&);
template Option Command::number(const std::string&, std::int64_t&, Range<std::int64_t>,
                                const std::string&);
template Option Command::number(const std::string&, std::uint64_t&, Range<std::uint64_t>,
                                const std::string&);
template Option Command::number(const std::string&, double&, Range<double>, const std::string&);

Option Command::flag(const std::string& name, bool& value, const std::string& meaning) {
  return Option(app_->add_flag(name, value, meaning)->default_str("off"));
}

bool Command::has(const std::string& name) const { return app_->count(name) > 0; }

void Command::run(std::function<int()> work) {
  app_->callback([work = std::move(work)] {
    if (const int status = work(); status != 0) throw CLI::RuntimeError(status);
  });
}

CommandLine::CommandLine(const std::string& name, const std::string& meaning,
                         const std::string& version)
    : app_(std::make_unique<CLI::App>(meaning, name)) {
  app_->set_version_flag("--version", version);
  app_->option_defaults()->always_capture_default();
  app_->formatter(std::make_shared<HelpFormatter>());  // before commands take it over
}

CommandLine::~CommandLine() = default;

Command CommandLine::add(const std::string& name, const std::string& meaning) {
  return Command(app_->add_subcommand(name, meaning));
}

int CommandLine::run(int argc, const char* const* argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::Success& asked) {
    std::ostringstream text;
    app_->exit(asked, text, text);
    print_out(text.str());
    return 0;
  } catch (const CLI::RuntimeError& ended) {
    return ended.get_exit_code();
  } catch (const CLI::ParseError& error) {
    throw UsageError(std::string(error.what()) + "; see --help");
  }
  if (app_->get_subcommands().empty()) throw UsageError("a command is needed; see --help");
  return 0;
}

}  // namespace rapt::tools
