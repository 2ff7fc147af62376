// The command `rapt`: parses its arguments, runs one subcommand, and reports exceptions as one
// sentence.
#include "command/commands.hpp"
#include "command/help.hpp"
#include "measure/machine.hpp"
#include "rapt/error.hpp"
#include "rapt/version.hpp"
#include "text/output.hpp"
#include "text/printable.hpp"
#include "text/usage_error.hpp"

#include <CLI/CLI.hpp>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <sstream>
#include <string>

namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;

int report(std::string sentence, int status) {
  std::replace(sentence.begin(), sentence.end(), '\n', ' ');
  std::fprintf(stderr, "rapt: %s\n", rapt::tools::printable(sentence).c_str());
  return status;
}

int run(int argc, char** argv) {
  CLI::App app("Attention for CPUs with the same bits on every instruction set.", "rapt");
  app.set_version_flag("--version", rapt::version());
  app.option_defaults()->always_capture_default();
  app.formatter(std::make_shared<rapt::tools::HelpFormatter>());  // before commands inherit it
  rapt::tools::add_info(app);
  rapt::tools::add_run(app);
  rapt::tools::add_check(app);
  rapt::tools::add_bench(app);
  rapt::tools::add_compare(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    std::ostringstream text;
    const int status = app.exit(asked, text, text);
    rapt::tools::print_out(text.str());
    return status;
  } catch (const CLI::RuntimeError& status) {
    return status.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return report(std::string(error.what()) + "; see --help", kUsage);
  }
  if (app.get_subcommands().empty()) return report("a command is needed; see --help", kUsage);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  rapt::tools::prepare_output();
  try {
    // oneTBB counts processors and ignores CPU quotas.
    oneapi::tbb::task_arena arena(rapt::tools::describe_machine().threads());
    return arena.execute([&] { return run(argc, argv); });
  } catch (const rapt::tools::UsageError& error) {
    return report(error.what(), kUsage);
  } catch (const std::bad_alloc&) {
    return report("out of memory", kFailure);
  } catch (const std::exception& error) {
    return report(error.what(), kFailure);
  }
}
