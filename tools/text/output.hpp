// Standard output: whole texts, and an error sentence if writing fails.
#pragma once

#include <string>

namespace rapt::tools {

/// Prepares for output that fails. A closed standard stream is occupied, since otherwise the first
/// opened file would take its descriptor and get the output; size limits and pipes without a reader
/// become errors of the write instead of signals.
void prepare_output();

/// Writes `text` to standard output and flushes it. If the reader is gone, the process ends by
/// SIGPIPE as filters do, unless the caller ignores that signal. Throws Error{file_error} if
/// writing fails, as on a full disk.
void print_out(const std::string& text);

}  // namespace rapt::tools
