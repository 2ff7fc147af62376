// The command `rapt`: parses its arguments, runs one subcommand, and reports exceptions as one
// sentence.
#include "command/commands.hpp"
#include "measure/machine.hpp"
#include "rapt/error.hpp"
#include "rapt/version.hpp"
#include "text/output.hpp"
#include "text/printable.hpp"
#include "text/usage_error.hpp"

#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
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
  rapt::tools::CommandLine line(
      "rapt", "Attention for CPUs with the same bits on every instruction set.", rapt::version());
  rapt::tools::add_info(line);
  rapt::tools::add_run(line);
  rapt::tools::add_check(line);
  rapt::tools::add_bench(line);
  rapt::tools::add_compare(line);
  rapt::tools::add_tune(line);
  return line.run(argc, argv);
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
