// Writing a file so that the old content is lost only once the new content is complete.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace rapt::io {

/// Writes `parts`, one after the other, to `path`.
///
/// A regular file is replaced as a whole: a new one is written in the same folder, without a name
/// if the file system supports that, otherwise under an unused name, and replaces the old one at
/// the end. Until then, and if anything fails or the process is killed, the old file is unchanged.
/// Its permissions are kept, and its owner if the process is allowed to; a file that did not exist
/// gets default permissions. Links are followed: their target is replaced or created.
///
/// Everything else (a device, a pipe, a link of /proc/self/fd) is opened and written directly.
///
/// Throws Error{file_error} with the path and the system's reason.
void write_file(const std::string& path, std::initializer_list<std::string_view> parts);

}  // namespace rapt::io
