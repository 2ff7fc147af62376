// Damaged files, cut at every byte or with random bytes changed, and the corpus of the fuzzers:
// each file loads or is an rapt::Error; a file that loads satisfies the format's rules and can be
// read completely.
#include "core/random.hpp"
#include "formats/file_bytes.hpp"
#include "formats/file_rules.hpp"
#include "formats/npy.hpp"
#include "formats/safetensors.hpp"
#include "support/temporary_directory.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <utility>

namespace rapt::test {
namespace {

/// A small valid file with three tensors, metadata and an escape.
std::string valid_safetensors() {
  const std::string header =
      R"({"__metadata__":{"form":"pt"},"w.0":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b\u0061":{"dtype":"BF16","shape":[3],"data_offsets":[24,30]},)"
      R"("e":{"dtype":"I64","shape":[0],"data_offsets":[30,30]}}  )";
  return safetensors_bytes(header, std::string(30, '\x3f'));
}

std::string valid_npy(int major) {
  return npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  ",
                   std::string(24, '\x3f'), major);
}

/// Reads the file from memory of exactly its size. Returns whether it loads; any exception other
/// than a malformed-file Error propagates and fails the test.
bool loads_safetensors(const std::string& bytes) {
  const std::vector<std::byte> copy = exact_copy(bytes);
  std::vector<FileTensor> tensors;
  const std::optional<Error> error = error_of([&] { tensors = io::parse_safetensors(copy, "f"); });
  if (error) {
    REQUIRE(error->code() == ErrorCode::malformed_file);
    REQUIRE(std::string(error->what()).starts_with("f: byte "));
  } else {
    REQUIRE(keeps_rules(tensors, copy));
  }
  for (const FileTensor& tensor : tensors) read_whole(tensor);
  return !error;
}

bool loads_npy(const std::string& bytes) {
  const std::vector<std::byte> copy = exact_copy(bytes);
  FileTensor tensor;
  const std::optional<Error> error = error_of([&] { tensor = io::parse_npy(copy, "f"); });
  if (error) {
    REQUIRE(error->code() == ErrorCode::malformed_file);
    REQUIRE(std::string(error->what()).starts_with("f: byte "));
  } else {
    REQUIRE(keeps_rules(tensor, copy));
    read_whole(tensor);
  }
  return !error;
}

/// One to four changes: any byte, one bit, a byte with a meaning in the format, a cut or a copy.
std::string mutated(std::string bytes, Random& random) {
  constexpr std::string_view kMeaningful = "{}[]()\"':,0123456789 \\-.eE<>|fFbBiuUTN\n";
  const std::int64_t changes = 1 + random.below(4);
  for (std::int64_t i = 0; i < changes && !bytes.empty(); ++i) {
    const auto at = static_cast<std::size_t>(random.below(static_cast<std::int64_t>(bytes.size())));
    const auto meaningful = kMeaningful[static_cast<std::size_t>(
        random.below(static_cast<std::int64_t>(kMeaningful.size())))];
    switch (random.below(8)) {
      case 0:
        bytes[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
        break;
      case 2:
        bytes.erase(at, 1);
        break;
      case 3:
        bytes.insert(at, bytes.substr(at, static_cast<std::size_t>(random.below(9))));
        break;
      default:
        bytes[at] = meaningful;
    }
  }
  return bytes;
}

/// Mutates `valid` repeatedly from one seed; both outcomes must occur, otherwise the test is void.
template <class Loads>
void check_mutations(const std::string& valid, std::uint64_t seed, Loads&& loads) {
  Random random(seed);
  const int rounds = quick() ? 2000 : 20000;
  int loaded = 0;
  for (int round = 0; round < rounds; ++round) {
    if (loads(mutated(valid, random))) ++loaded;
  }
  CAPTURE(loaded);
  CHECK(loaded > 0);
  CHECK(loaded < rounds);
}

TEST_CASE("a file cut at any byte is an error that says so, in both formats") {
  const std::string safetensors = valid_safetensors();
  REQUIRE(loads_safetensors(safetensors));
  for (std::size_t size = 0; size < safetensors.size(); ++size) {
    CAPTURE(size);
    REQUIRE(!loads_safetensors(safetensors.substr(0, size)));
  }
  for (const int major : {1, 2, 3}) {
    const std::string npy = valid_npy(major);
    REQUIRE(loads_npy(npy));
    for (std::size_t size = 0; size < npy.size(); ++size) {
      CAPTURE(size);
      REQUIRE(!loads_npy(npy.substr(0, size)));
    }
  }
}

TEST_CASE("a safetensors header cut at any byte is an error even when its length agrees") {
  const std::string file = valid_safetensors();
  const std::string json = file.substr(8, file.size() - 8 - 30);
  const std::size_t whole = json.find_last_not_of(' ') + 1;
  for (std::size_t size = 0; size < whole; ++size) {
    CAPTURE(size);
    REQUIRE(!loads_safetensors(safetensors_bytes(json.substr(0, size), std::string(30, '\x3f'))));
  }
}

TEST_CASE("an npy header cut at any byte is an error even when its length agrees") {
  const std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  for (std::size_t size = 0; size < dict.size(); ++size) {
    CAPTURE(size);
    REQUIRE(!loads_npy(npy_bytes(dict.substr(0, size), std::string(24, '\x3f'))));
  }
}

TEST_CASE("a randomly damaged safetensors file loads or is an error") {
  check_mutations(valid_safetensors(), 1, loads_safetensors);
}

TEST_CASE("a randomly damaged npy file loads or is an error") {
  check_mutations(valid_npy(1), 2, loads_npy);
}

TEST_CASE("the fuzzers' corpus files named valid load, and no others") {
  const auto check = [](const std::string& format, auto&& loads) {
    int files = 0;
    for (const auto& file :
         std::filesystem::directory_iterator(RAPT_TESTS_FOLDER "/corpus/" + format)) {
      const std::string name = file.path().filename().string();
      CAPTURE(name);
      CHECK(loads(read_file(file.path().string())) == name.starts_with("valid"));
      ++files;
    }
    CHECK(files > 30);
  };
  check("npy", loads_npy);
  check("safetensors", loads_safetensors);
}

}  // namespace
}  // namespace rapt::test
