// The beginning of a small file as text.
#pragma once

#include <cstddef>
#include <string>

namespace rapt::io {

/// At most the first `most` bytes of a regular file. Throws Error{file_error} with the path and the
/// system's reason.
std::string read_beginning(const std::string& path, std::size_t most);

}  // namespace rapt::io
