// The limits in weights_file.hpp: a file at a limit loads, one past it is an error that names the
// limit and the byte.
#include "formats/file_bytes.hpp"
#include "formats/npy.hpp"
#include "formats/safetensors.hpp"
#include "support/temporary_directory.hpp"

#include <doctest/doctest.h>

#include <utility>

namespace rapt::test {
namespace {

constexpr std::size_t kMaxEntries = 262144;

/// A file without data whose header is `head`, `count` entries with ascending numbers in their
/// names, and `tail`; and the position of the last entry.
std::pair<std::string, std::size_t> numbered(const std::string& head, std::size_t count,
                                             const std::string& value, const std::string& tail) {
  std::string header = head;
  std::size_t last = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) header += ',';
    last = header.size();
    header += '"' + std::to_string(i) + "\":" + value;
  }
  return {safetensors_bytes(header + tail, ""), 8 + last};
}

void check_limit(const std::string& head, const std::string& value, const std::string& tail,
                 const std::string& entries, std::size_t tensors_at_limit) {
  CAPTURE(entries);
  const auto parsed = [](const std::string& file) {
    return io::parse_safetensors(std::as_bytes(std::span(file)), "f");
  };
  CHECK(parsed(numbered(head, kMaxEntries, value, tail).first).size() == tensors_at_limit);

  const auto [file, last] = numbered(head, kMaxEntries + 1, value, tail);
  const std::optional<Error> error = error_of([&, &bytes = file] { parsed(bytes); });
  REQUIRE(error.has_value());
  CHECK(error->code() == ErrorCode::malformed_file);
  CHECK(std::string(error->what()) ==
        "f: byte " + std::to_string(last) + ": more than the limit of 262144 " + entries);
}

TEST_CASE("a safetensors header of 262144 tensors loads, and one more is an error") {
  check_limit("{", R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})", "}", "tensors",
              kMaxEntries);
}

TEST_CASE("a safetensors header of 262144 metadata entries loads, and one more is an error") {
  check_limit(R"({"__metadata__":{)", "\"\"", "}}", "metadata entries", 0);
}

TEST_CASE("a safetensors header of 40000000 bytes loads, and one byte more is an error") {
  const TemporaryDirectory directory;
  std::string header(40'000'000, ' ');
  header[0] = '{';
  header[1] = '}';
  CHECK(
      SafetensorsFile(directory.write("a.safetensors", safetensors_bytes(header, ""))).find("a") ==
      nullptr);
  header += ' ';
  const std::string path = directory.write("b.safetensors", safetensors_bytes(header, ""));
  const std::optional<Error> error = error_of([&] { SafetensorsFile(std::string(path)); });
  REQUIRE(error.has_value());
  CHECK(std::string(error->what()) ==
        path + ": byte 0: a header of 40000001 bytes is longer than the limit of 40000000");
}

TEST_CASE("an npy header of 65535 bytes loads, and one byte more is an error") {
  std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }";
  dict.resize(65534, ' ');
  const std::string longest = npy_bytes(dict, "", 2);
  CHECK(io::parse_npy(std::as_bytes(std::span(longest)), "f").nbytes == 0);
  const std::string longer = npy_bytes(dict + ' ', "", 2);
  const std::optional<Error> error =
      error_of([&] { io::parse_npy(std::as_bytes(std::span(longer)), "f"); });
  REQUIRE(error.has_value());
  CHECK(std::string(error->what()) ==
        "f: byte 8: a header of 65536 bytes is longer than the limit of 65535");
}

TEST_CASE("every tensor of a safetensors file is found by its name, whatever the order") {
  constexpr std::size_t kTensors = 1000;
  std::string header = "{";
  for (std::size_t i = 0; i < kTensors; ++i) {
    // 389 and 1000 are coprime: names, header and data are in three different orders.
    const std::string at = std::to_string(i * 389 % kTensors);
    const std::string end = std::to_string(i * 389 % kTensors + 1);
    if (i > 0) header += ',';
    header += "\"t" + std::to_string(i) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" + at +
              "," + end + "]}";
  }
  const TemporaryDirectory directory;
  const SafetensorsFile file(directory.write(
      "a.safetensors", safetensors_bytes(header + "}", std::string(kTensors, '\1'))));
  REQUIRE(file.tensors().size() == kTensors);
  for (std::size_t i = 0; i < kTensors; ++i) {
    const FileTensor* const found = file.find("t" + std::to_string(i));
    REQUIRE(found == &file.tensors()[i * 389 % kTensors]);
    CHECK(found == &file.at("t" + std::to_string(i)));
  }
  for (const char* const absent : {"", "s", "t", "t-1", "t1000", "t00", "u"}) {
    CHECK(file.find(absent) == nullptr);
  }
}

}  // namespace
}  // namespace rapt::test
