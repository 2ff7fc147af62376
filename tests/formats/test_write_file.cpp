// Writing a file: the old file remains until the new one is complete, and devices and pipes are
// kept.
#include "rapt/weights_file.hpp"
#include "support/sentence_of.hpp"
#include "support/temporary_directory.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

using rapt::ErrorCode;
using rapt::write_npy;
using rapt::test::read_file;
using rapt::test::sentence_of;
using rapt::test::TemporaryDirectory;

namespace fs = std::filesystem;

const std::vector<float> kValues(5000, 1.5f);
constexpr std::size_t kBytes = 128 + 4 * 5000;

void write(const std::string& path) { write_npy(path, kValues.data(), {5000}); }

std::size_t files_in(const std::string& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

/// Writes in a process with a file size limit of 4096 bytes: the system stops it halfway.
void write_and_be_stopped(const std::string& path) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit limit{4096, 4096};
    std::signal(SIGXFSZ, SIG_DFL);
    const rlimit no_core{0, 0};
    if (::setrlimit(RLIMIT_CORE, &no_core) != 0) ::_exit(2);
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(2);
    write(path);
    ::_exit(1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGXFSZ);
}

}  // namespace

TEST_CASE("a process that is stopped while it writes an npy file leaves the old one and no other") {
  const TemporaryDirectory directory;
  const std::string old = directory.write("old.npy", "old");
  write_and_be_stopped(old);
  write_and_be_stopped(directory.path("new.npy"));
  CHECK(read_file(old) == "old");
  CHECK(files_in(directory.path("")) == 1);
}

TEST_CASE("an npy file that cannot be written whole leaves the old one and no other") {
  const TemporaryDirectory directory;
  const std::string old = directory.write("old.npy", "old");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{4096, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  for (const std::string& path : {old, directory.path("new.npy")}) {
    CHECK(sentence_of([&] { write(path); }, ErrorCode::file_error) ==
          path + ": cannot be written: File too large");
  }
  CHECK(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(read_file(old) == "old");
  CHECK(files_in(directory.path("")) == 1);
}

TEST_CASE("an npy file replaces the old one and keeps its permissions, through links too") {
  const TemporaryDirectory directory;
  const std::string old = directory.write("old.npy", "old");
  REQUIRE(::chmod(old.c_str(), 0604) == 0);
  fs::create_symlink("old.npy", directory.path("link"));
  fs::create_symlink(directory.path("new.npy"), directory.path("dangling"));
  // A reader that has the old file open can read it to its end.
  const int open = ::open(old.c_str(), O_RDONLY);
  write(directory.path("link"));
  char text[4] = {};
  CHECK(::read(open, text, sizeof text) == 3);
  ::close(open);
  CHECK(std::string(text) == "old");
  write(directory.path("dangling"));
  CHECK(fs::is_symlink(directory.path("link")));
  CHECK(fs::is_symlink(directory.path("dangling")));
  struct stat status {};
  REQUIRE(::lstat(old.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777u) == 0604u);
  CHECK(read_file(old).size() == kBytes);
  CHECK(read_file(old) == read_file(directory.path("new.npy")));
  CHECK(files_in(directory.path("")) == 4);
}

TEST_CASE("a pipe gets an npy file and stays a pipe") {
  const TemporaryDirectory directory;
  const std::string fifo = directory.path("fifo");
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  // A pipe needs a reader, or opening it would wait; 20 kB fit without being read.
  const int reader = ::open(fifo.c_str(), O_RDONLY | O_NONBLOCK);
  REQUIRE(reader >= 0);
  write(fifo);
  std::string bytes(2 * kBytes, '\0');
  CHECK(::read(reader, bytes.data(), bytes.size()) == static_cast<ssize_t>(kBytes));
  ::close(reader);
  CHECK(fs::is_fifo(fifo));
  CHECK(files_in(directory.path("")) == 1);
}

TEST_CASE("an open file named through /proc is written in place") {
  const TemporaryDirectory directory;
  const std::string path = directory.write("old.npy", std::string(2 * kBytes, 'x'));
  const int file = ::open(path.c_str(), O_RDWR);
  struct stat before {
  }, after{};
  REQUIRE(::fstat(file, &before) == 0);
  write("/proc/self/fd/" + std::to_string(file));
  ::close(file);
  REQUIRE(::stat(path.c_str(), &after) == 0);
  CHECK(before.st_ino == after.st_ino);
  CHECK(read_file(path).size() == kBytes);
}
