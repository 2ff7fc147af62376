#include "formats/small_file.hpp"

#include "formats/descriptor.hpp"
#include "formats/malformed.hpp"
#include "rapt/error.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>

namespace rapt::io {
namespace {

[[noreturn]] void fail(const std::string& path, int error) {
  throw Error(code_of(error), path + ": cannot be read: " + std::generic_category().message(error));
}

}  // namespace

std::string read_beginning(const std::string& path, std::size_t most) {
  refuse_zero_byte(path);
  // O_NONBLOCK: opening a pipe without a writer would wait forever; regular files ignore it.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.number() < 0) fail(path, errno);
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) fail(path, errno);
  if (S_ISDIR(status.st_mode)) fail(path, EISDIR);
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::file_error, path + ": cannot be read: not a regular file");
  }
  std::string text(most, '\0');
  std::size_t size = 0;
  while (size < most) {  // files of /proc are read in pieces
    const ssize_t count = ::read(file.number(), text.data() + size, most - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, errno);
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  text.resize(size);
  return text;
}

}  // namespace rapt::io
