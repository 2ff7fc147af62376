// open, fstat, mmap: each failure is a file_error with the path and the system's reason.
#include "formats/mapped_file.hpp"

#include "formats/descriptor.hpp"
#include "formats/malformed.hpp"
#include "rapt/error.hpp"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <limits>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>

namespace rapt::io {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& what, int error) {
  const std::string reason = std::generic_category().message(error);
  throw Error(code_of(error), path + ": " + what + ": " + reason);
}

/// The size of the open file; throws for everything but a regular, non-empty file.
std::size_t regular_file_size(const Descriptor& file, const std::string& path) {
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) fail(path, "cannot be examined", errno);
  if (S_ISDIR(status.st_mode)) fail(path, "cannot be read", EISDIR);
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::file_error, path + ": cannot be mapped: not a regular file");
  }
  if (status.st_size == 0) throw Error(ErrorCode::file_error, path + ": the file is empty");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > std::numeric_limits<std::size_t>::max()) fail(path, "cannot be mapped", EFBIG);
  return static_cast<std::size_t>(size);
}

}  // namespace

MappedFile::~MappedFile() {
  // munmap takes a mutable pointer and changes no byte.
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

std::shared_ptr<const MappedFile> map_file(const std::string& path) {
  refuse_zero_byte(path);
  // O_NONBLOCK: opening a pipe without a writer would wait forever; regular files ignore it.
  // The mapping outlives the descriptor.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) fail(path, "cannot be opened", errno);
  const std::size_t size = regular_file_size(file, path);
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number(), 0);
  if (address == MAP_FAILED) fail(path, "cannot be mapped", errno);
  const std::span<const std::byte> bytes(static_cast<const std::byte*>(address), size);
  try {
    return std::make_shared<const MappedFile>(bytes);
  } catch (...) {
    ::munmap(address, size);
    throw;
  }
}

}  // namespace rapt::io
