// The command line of `rapt`: its subcommands and their flags, without the parser that reads them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace rapt::tools {

/// An option that was added to a subcommand, to say more about it.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  /// The default that the help shows, instead of the variable's value.
  Option& default_text(const std::string& text);
  Option& required();
  /// Another option of the subcommand, added before this call.
  Option& needs(const std::string& name);
  Option& excludes(const std::string& name);

 private:
  CLI::Option* option_;
};

/// A subcommand. The value of an option is written to a variable, which holds the default before
/// and must outlive the parsing. A name without dashes is a positional.
class Command {
 public:
  explicit Command(CLI::App* app) : app_(app) {}

  Option text(const std::string& name, std::string& value, const std::string& meaning);
  Option texts(const std::string& name, std::vector<std::string>& values,
               const std::string& meaning);
  Option choice(const std::string& name, std::string& value,
                const std::vector<std::string>& choices, const std::string& meaning);
  /// The name of a file; "" is the default for none, and not accepted as a value.
  Option file(const std::string& name, std::string& value, const std::string& meaning);

  template <class Number>
  struct Range {
    Number min, max;
  };
  /// A decimal number in the range, ends included: int, std::int64_t, std::uint64_t or double.
  template <class Number>
  Option number(const std::string& name, Number& value, Range<Number> range,
                const std::string& meaning);

  /// An option without a value, false unless given.
  Option flag(const std::string& name, bool& value, const std::string& meaning);

  /// Whether the command line gives it.
  bool has(const std::string& name) const;
  /// Sets what the subcommand does; work() returns the exit status.
  void run(std::function<int()> work);

 private:
  CLI::App* app_;
};

class CommandLine {
 public:
  CommandLine(const std::string& name, const std::string& meaning, const std::string& version);
  ~CommandLine();

  Command add(const std::string& name, const std::string& meaning);
  /// Runs the subcommand that the arguments name, or prints the help or version that they ask for.
  /// Returns the exit status; throws UsageError where the arguments are wrong.
  int run(int argc, const char* const* argv);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace rapt::tools
