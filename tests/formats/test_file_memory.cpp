// Files built to be expensive: each opens or is an error, in a process that never uses more than
// 512 MiB.
#include "formats/file_bytes.hpp"
#include "support/temporary_directory.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rapt::test {
namespace {

enum class End { opened, malformed };

/// The peak memory in bytes of a child process that opens `path`. It must exit with `end`.
std::int64_t memory_to_open(const std::string& path, End end) {
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // No doctest code may run here: it would report twice.
    int status = 1;
    try {
      const SafetensorsFile file(path);
      status = end == End::opened ? 0 : 2;
    } catch (const Error& error) {
      status = end == End::malformed && error.code() == ErrorCode::malformed_file ? 0 : 3;
    } catch (...) {
    }
    ::_exit(status);
  }
  int status = 0;
  struct rusage usage {};
  REQUIRE(::wait4(child, &status, 0, &usage) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

/// `head`, entry(0), entry(1), ... with commas between, and `tail`: as many entries as `bytes`
/// hold.
std::string filled(std::size_t bytes, const std::string& head,
                   const std::function<std::string(std::size_t)>& entry, const std::string& tail) {
  std::string header = head + entry(0);
  for (std::size_t i = 1;; ++i) {
    const std::string next = "," + entry(i);
    if (header.size() + next.size() + tail.size() > bytes) return header + tail;
    header += next;
  }
}

std::string empty_tensor(const std::string& name, const std::string& shape) {
  return "\"" + name + R"(":{"dtype":"U8","shape":)" + shape + R"(,"data_offsets":[0,0]})";
}

/// Takes the header by value to free it: the child process starts with the memory of this one.
void check_memory(std::string header, End end) {
  constexpr std::int64_t kMax = std::int64_t{512} << 20;
  const std::string begins = header.substr(0, 60);
  CAPTURE(begins);
  const TemporaryDirectory directory;
  const std::string path = directory.write("costly", safetensors_bytes(header, ""));
  header = std::string();
  CHECK(memory_to_open(path, end) <= kMax);
}

/// The longest header that is read, and the longest that the format can express.
constexpr std::size_t kLongest = 40'000'000, kFormat = 100'000'000;

TEST_CASE("a safetensors header of very many short entries takes no more than 512 MiB") {
  const auto key = [](std::size_t i) { return "\"" + std::to_string(i) + "\":\"\""; };
  for (const std::size_t bytes : {kLongest, kFormat}) {
    check_memory(filled(bytes, R"({"__metadata__":{)", key, "}}"), End::malformed);
  }
  check_memory(
      filled(
          kLongest, "{", [](std::size_t i) { return empty_tensor(std::to_string(i), "[0]"); }, "}"),
      End::malformed);
}

TEST_CASE(
    "a safetensors header of as many tensors and dimensions as fit takes no more than 512 MiB") {
  std::string shape = "[0";
  for (int i = 1; i < 64; ++i) shape += ",1";
  const auto tensor = [&](std::size_t i) { return empty_tensor(std::to_string(i), shape + "]"); };
  check_memory(filled(kLongest, "{", tensor, "}"), End::opened);
  const std::string long_name(120, 'x');
  check_memory(
      filled(
          kLongest, "{",
          [&](std::size_t i) { return empty_tensor(long_name + std::to_string(i), "[0]"); }, "}"),
      End::opened);
}

TEST_CASE("a safetensors header of one very long token takes no more than 512 MiB") {
  const auto xs = [] { return std::string(kLongest - 100, 'x'); };
  const auto digits = [] { return std::string(kLongest - 100, '1'); };
  check_memory("{" + empty_tensor(xs(), "[0]") + "}", End::opened);
  check_memory(R"({"__metadata__":{"a":")" + xs() + "\"}}", End::opened);
  check_memory(R"({"__metadata__":{"a":")" + xs() + "\1\"}}", End::malformed);
  check_memory(R"({"__metadata__":{"a":")" + xs(), End::malformed);
  check_memory(R"({"a":{"dtype":")" + xs() + "\"}}", End::malformed);
  check_memory(R"({"a":{"shape":[)" + digits() + "]}}", End::malformed);
  check_memory(R"({"a":{"shape":[0.)" + digits() + "]}}", End::malformed);
}

}  // namespace
}  // namespace rapt::test
