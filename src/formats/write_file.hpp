// Writing a file so that what was there before is lost only when the new content is whole.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace rapt::io {

/// Writes `parts`, one after the other, to `path`.
///
/// A regular file is replaced whole: a new one is written in the same folder, without a name where
/// the file system can do that, else under a name that did not exist, and takes the old one's place
/// at the end. Until then, and for good when anything fails or the process is stopped, the old file
/// is as it was. Its permissions are kept, its owner where the system lets the process; a file that
/// was not there gets those of any new one. Links are followed: what they lead to is replaced or
/// created.
///
/// Everything else (a device, a pipe, what /proc/self/fd leads to) is opened and written through.
///
/// Throws Error{file_error} with the path and the system's reason.
void write_file(const std::string& path, std::initializer_list<std::string_view> parts);

}  // namespace rapt::io
