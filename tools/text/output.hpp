// Standard output: whole texts, and sentences where it cannot be written.
#pragma once

#include <string>

namespace rapt::tools {

/// Prepares for output that fails. A closed stream is occupied, or the first file that is opened
/// would become it and get what is printed; limits of size and pipes without a reader are errors of
/// the write, not signals.
void prepare_output();

/// Writes `text` to standard output and flushes it. Where its reader has left, the process ends by
/// SIGPIPE as filters do, unless the caller ignores that. Throws Error{file_error} when that fails,
/// as on a full disk.
void print_out(const std::string& text);

}  // namespace rapt::tools
