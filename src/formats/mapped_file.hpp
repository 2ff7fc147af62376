// A whole file as read-only memory: opened, checked and mapped once, unmapped with the last owner.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace rapt::io {

/// A mapping of a regular file. The mapping is the file itself: a file that another process
/// truncates while it is mapped raises SIGBUS on access, which no library can turn into an error;
/// replace model files by renaming a new one over them.
class MappedFile {
 public:
  explicit MappedFile(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  /// The file from its first byte to its last; starts on a page border.
  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

/// Maps the file at `path`. Throws Error{file_error} with the path and the system's reason when it
/// is missing, unreadable, empty, or not a regular file; never blocks on a pipe.
std::shared_ptr<const MappedFile> map_file(const std::string& path);

}  // namespace rapt::io
