// Files are compared by the system's identity, not by name.
#include "command/output_file.hpp"

#include "text/printable.hpp"
#include "text/usage_error.hpp"

#include <fmt/format.h>

#include <sys/stat.h>
#include <unistd.h>

namespace rapt::tools {
namespace {

bool same(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

void check_output(const std::string& flag, const std::string& path,
                  const std::vector<InputFile>& inputs) {
  struct stat output {};
  // A device or pipe may be input and output at once.
  if (path.empty() || ::stat(path.c_str(), &output) != 0 || !S_ISREG(output.st_mode)) return;
  const auto refuse = [&](const std::string& other) {
    throw UsageError(fmt::format("{}: {} is also {}", flag, printable(path), other));
  };
  struct stat other {};
  for (const InputFile& input : inputs) {
    if (::stat(input.path.c_str(), &other) == 0 && same(output, other)) refuse(input.name);
  }
  if (::fstat(STDOUT_FILENO, &other) == 0 && same(output, other)) refuse("the standard output");
  if (::fstat(STDERR_FILENO, &other) == 0 && same(output, other)) refuse("the standard error");
}

}  // namespace rapt::tools
