// Writes output in one piece and handles closed streams.
#include "text/output.hpp"

#include "rapt/error.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace rapt::tools {
namespace {

/// Whether SIGPIPE still has its default action.
bool pipe_ends_process = false;

}  // namespace

void prepare_output() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // Takes the lowest free descriptor. A directory can be neither written nor read.
    if (::fcntl(stream, F_GETFD) < 0) static_cast<void>(::open("/", O_RDONLY));
  }
  std::signal(SIGXFSZ, SIG_IGN);
  pipe_ends_process = std::signal(SIGPIPE, SIG_IGN) != SIG_IGN;
}

void print_out(const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!written || std::fflush(stdout) != 0) {
    if (errno == EPIPE && pipe_ends_process) {
      std::signal(SIGPIPE, SIG_DFL);
      std::raise(SIGPIPE);
    }
    throw Error(ErrorCode::file_error,
                fmt::format("standard output: cannot be written: {}", std::strerror(errno)));
  }
}

}  // namespace rapt::tools
