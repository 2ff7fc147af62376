// Files that cannot be opened, mapped or written: an error with the path and the system's reason.
#include "formats/file_bytes.hpp"
#include "rapt/rapt.hpp"
#include "support/temporary_directory.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <limits>
#include <sys/stat.h>
#include <unistd.h>

namespace rapt::test {
namespace {

void check_file_error(const std::optional<Error>& error, const std::string& path,
                      const std::string& reason) {
  CAPTURE(path);
  REQUIRE(error.has_value());
  CHECK(error->code() == ErrorCode::file_error);
  const std::string sentence = error->what();
  CAPTURE(sentence);
  CHECK(sentence.starts_with(path + ": "));
  CHECK(sentence.find(reason) != std::string::npos);
}

/// Both formats open files in the same way.
void check_not_opened(const std::string& path, const std::string& reason) {
  check_file_error(error_of([&] { NpyFile(std::string(path)); }), path, reason);
  check_file_error(error_of([&] { SafetensorsFile(std::string(path)); }), path, reason);
}

TEST_CASE("a file that cannot be mapped is an error with the path and the reason") {
  const TemporaryDirectory directory;
  check_not_opened(directory.path("missing"), "No such file or directory");
  check_not_opened(directory.path(""), "Is a directory");
  check_not_opened(directory.write("empty", ""), "the file is empty");
  check_not_opened(directory.path("empty/below"), "Not a directory");
  check_not_opened(directory.path(std::string(5000, 'x')), "File name too long");
  check_not_opened("/dev/null", "not a regular file");

  const std::string unreadable = directory.write("unreadable", "x");
  REQUIRE(::chmod(unreadable.c_str(), 0) == 0);
  if (::access(unreadable.c_str(), R_OK) != 0) check_not_opened(unreadable, "Permission denied");
}

TEST_CASE("opening a pipe is an error and does not wait for a writer") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("pipe");
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  check_not_opened(path, "not a regular file");
}

TEST_CASE("a path with a zero byte never opens or writes the file before the zero") {
  const TemporaryDirectory directory;
  write_npy(directory.path("a.npy"), nullptr, {0});
  const std::string path = directory.path("a.npy") + std::string("\0.txt", 5);
  const std::optional<Error> error = error_of([&] { NpyFile(std::string(path)); });
  REQUIRE(error.has_value());
  CHECK(error->code() == ErrorCode::file_error);
  CHECK(std::string(error->what()).ends_with("a.npy\\x00.txt\" holds a zero byte"));
  CHECK(error_of([&] { write_npy(path, nullptr, {0}); }).has_value());
}

TEST_CASE("an npy file that cannot be written is an error with the path and the reason") {
  const TemporaryDirectory directory;
  const float one = 1.0f;
  const std::string missing = directory.path("missing/a.npy");
  check_file_error(error_of([&] { write_npy(missing, &one, {1}); }), missing, "No such file");
  check_file_error(error_of([&] { write_npy(directory.path(""), &one, {1}); }), directory.path(""),
                   "Is a directory");
  if (::access("/dev/full", W_OK) == 0) {
    const std::vector<float> large(100000);
    check_file_error(error_of([&] { write_npy("/dev/full", &one, {1}); }), "/dev/full", "No space");
    check_file_error(error_of([&] { write_npy("/dev/full", large.data(), {100000}); }), "/dev/full",
                     "No space");
  }
}

TEST_CASE("write_npy refuses shapes and data that no file can hold before it opens the file") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("a.npy");
  const float one = 1.0f;
  const auto check = [&](const float* values, const std::vector<std::int64_t>& shape,
                         const std::string& sentence) {
    const std::optional<Error> error = error_of([&] { write_npy(path, values, shape); });
    REQUIRE(error.has_value());
    CHECK(error->code() == ErrorCode::invalid_argument);
    CHECK(std::string(error->what()) == sentence);
    CHECK(!std::filesystem::exists(path));
  };
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  check(&one, {2, -1}, "shape: [2, -1] has a negative extent");
  check(&one, {kMax}, "shape: [9223372036854775807] has too many elements");
  check(&one, {1 << 30, 1 << 30, 1 << 30},
        "shape: [1073741824, 1073741824, 1073741824] has too many elements");
  check(&one, std::vector<std::int64_t>(65, 1), "shape: rank 65 is more than 64");
  check(nullptr, {1}, "data: null for shape [1]");
}

TEST_CASE("a tensor of more than 2^32 bytes is mapped whole") {
  const TemporaryDirectory directory;
  constexpr std::int64_t kBytes = (std::int64_t{1} << 32) + 8;
  const std::string dict =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 536870913), }         ";
  const std::string path = directory.write("a.npy", npy_bytes(dict, ""));
  const auto header = static_cast<std::int64_t>(std::filesystem::file_size(path));
  // Almost all of the file is a hole, which takes no disk space.
  REQUIRE(::truncate(path.c_str(), static_cast<off_t>(header + kBytes - 4)) == 0);
  std::ofstream(path, std::ios::binary | std::ios::app) << bytes_of<float>({5.0f});
  const NpyFile file(path);
  CHECK(file.tensor().nbytes == static_cast<std::size_t>(kBytes));
  const std::byte* const end = file.tensor().data + kBytes;
  CHECK(std::string(reinterpret_cast<const char*>(end - 4), 4) == bytes_of<float>({5.0f}));
}

}  // namespace
}  // namespace rapt::test
