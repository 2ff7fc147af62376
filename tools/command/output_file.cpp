// Files are compared by the system's identity, not by name.
#include "command/output_file.hpp"

#include "formats/malformed.hpp"
#include "rapt/error.hpp"
#include "text/printable.hpp"
#include "text/usage_error.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace rapt::tools {
namespace {

bool same(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// 0, or the reason why this process may not.
int denied(const std::string& path, int rights) {
  return ::faccessat(AT_FDCWD, path.c_str(), rights, AT_EACCESS) == 0 ? 0 : errno;
}

/// A regular file is replaced by a new one in its folder.
int folder_denied(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  return denied(folder.empty() ? "." : folder, W_OK | X_OK);
}

/// 0, or the reason why a file cannot be written. Where a link leads is not examined.
int cannot_write(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return errno == ENOENT ? folder_denied(path) : errno;
  if (S_ISLNK(status.st_mode)) return 0;
  if (S_ISDIR(status.st_mode)) return EISDIR;
  const int error = denied(path, W_OK);
  return error == 0 && S_ISREG(status.st_mode) ? folder_denied(path) : error;
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

void check_writable(const std::string& path) {
  const int error = path.empty() ? 0 : cannot_write(path);
  if (error == 0) return;
  throw Error(io::code_of(error),
              path + ": cannot be opened for writing: " + std::generic_category().message(error));
}

}  // namespace rapt::tools
