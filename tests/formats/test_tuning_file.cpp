// Files of a tuning: what is read from one, and the sentence of each kind that is wrong.
#include "core/random.hpp"
#include "core/tuning.hpp"
#include "dispatch/dispatch.hpp"
#include "dispatch/isa_table.hpp"
#include "dispatch/machine_id.hpp"
#include "dispatch/tuning.hpp"
#include "formats/tuning_file.hpp"
#include "rapt/isa.hpp"
#include "support/sentence_of.hpp"
#include "support/temporary_directory.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <vector>

namespace rapt::test {
namespace {

/// A variable of the environment until the end of the scope; null: not set.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* const before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~Variable() { set(before_ ? before_->c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const char* value) const {
    value == nullptr ? unsetenv(name_) : setenv(name_, value, 1);
    dispatch::reset_tuning();
  }

  const char* name_;
  std::optional<std::string> before_;
};

/// A folder in which RAPT_TUNING names files, or XDG_CACHE_HOME is.
class TuningFiles {
 public:
  std::string text_of(const std::string& sections) const {
    return fmt::format(R"({{"rapt_tuning": 1, "machine": "{}", {}}})", dispatch::machine_id(),
                       sections);
  }

  /// The sentence of the first use of a tuning with that text.
  std::string sentence(const std::string& text, ErrorCode code = ErrorCode::malformed_file) const {
    const Variable named("RAPT_TUNING", folder_.write("tuning.json", text).c_str());
    return sentence_of([] { dispatch::active_kernels(); }, code);
  }

  std::string path() const { return folder_.path("tuning.json"); }
  const TemporaryDirectory& folder() const { return folder_; }

  /// As the file of the cache directory.
  void write_for_user(const std::string& text) const {
    std::filesystem::create_directory(folder_.path("rapt"));
    folder_.write("rapt/tuning.json", text);
  }

 private:
  TemporaryDirectory folder_;
};

}  // namespace

TEST_CASE("RAPT_TUNING names the file whose numbers replace the defaults") {
  const TuningFiles files;
  const std::string path = files.folder().write(
      "tuning.json",
      files.text_of(
          R"("scalar": {"query_rows": 4, "stream_floats": 7}, "call": {"inline_work": 9})"));
  const Variable named("RAPT_TUNING", path.c_str());
  const kernels::KernelSet& scalar = dispatch::kernels_of(Isa::scalar);
  CHECK(scalar.tuning.query_rows == 4);
  CHECK(scalar.tuning.stream_floats == 7);
  CHECK(scalar.tuning.pack_values_rows ==
        dispatch::isa_table().back().kernels->tuning.pack_values_rows);
  CHECK(dispatch::call_tuning().inline_work == 9);
  CHECK(dispatch::call_tuning().min_item_rows == tuning::CallTuning().min_item_rows);
  CHECK(dispatch::tuning_source().path == path);
  CHECK(dispatch::tuning_source().ignored.empty());
}

TEST_CASE("numbers of an ISA that is not compiled in are left aside, but their names are checked") {
  const TuningFiles files;
  for (const Isa isa : {Isa::neon, Isa::avx2}) {
    const auto compiled = compiled_isas();
    if (std::ranges::find(compiled, isa) != compiled.end()) continue;
    const std::string name(isa_name(isa));
    CHECK(files.sentence(files.text_of("\"" + name + R"(": {"query_rows": 5000})")).empty());
    CHECK(files.sentence(files.text_of("\"" + name + R"(": {"rows": 8})"))
              .ends_with(fmt::format("unknown key \"{}.rows\"", name)));
  }
}

TEST_CASE("a wrong file that RAPT_TUNING names is an error that says what is wrong") {
  const TuningFiles files;
  struct Wrong {
    std::string sections, sentence;
  };
  const std::vector<Wrong> cases = {
      {R"("scalar": {"query_rows": 5})",
       "\"scalar.query_rows\" is 5, but must be a multiple of 2 from 2 to 32"},
      {R"("scalar": {"query_rows": 34})",
       "\"scalar.query_rows\" is 34, but must be a multiple of 2 from 2 to 32"},
      {R"("scalar": {"query_rows": -2})",
       "\"scalar.query_rows\" is -2, but must be a multiple of 2 from 2 to 32"},
      {R"("scalar": {"stream_rows": 3})", "\"scalar.stream_rows\" is 3, but must be from 0 to 2"},
      {R"("call": {"linear_item_rows": 481})",
       "\"call.linear_item_rows\" is 481, but must be from 1 to 480"},
      {R"("call": {"rows": 1})", "unknown key \"call.rows\""},
      {R"("sse": {"query_rows": 4})", "unknown section \"sse\", which is neither call nor an ISA"},
      {R"("scalar": {"query_rows": 4.5})",
       "\"scalar.query_rows\" must be a whole number, found the number \"4.5\""},
      {R"("scalar": {"query_rows": "4"})",
       "\"scalar.query_rows\" must be a whole number, found the string \"4\""},
      {R"("scalar": {"query_rows": true})",
       "\"scalar.query_rows\" must be a whole number, found true"},
      {R"("scalar": {"query_rows": [4]})",
       "\"scalar.query_rows\" must be a whole number, found an array"},
      {R"("scalar": {"query_rows": {}})",
       "\"scalar.query_rows\" must be a whole number, found an object"},
      {R"("scalar": {"query_rows": 18446744073709551615})",
       "\"scalar.query_rows\" must be a whole number, found the number 18446744073709551615"},
      {R"("scalar": {"query_rows": 4, "query_rows": 4})", "\"scalar.query_rows\" is given twice"},
      {R"("scalar": {}, "scalar": {})", "\"scalar\" is given twice"},
      {R"("scalar": 4)", "\"scalar\" must be an object of numbers, found the number 4"},
      {R"("rapt_tuning": 1)", "\"rapt_tuning\" is given twice"},
  };
  for (const Wrong& wrong : cases) {
    CAPTURE(wrong.sections);
    CHECK(files.sentence(files.text_of(wrong.sections)) ==
          "RAPT_TUNING: " + files.path() + ": " + wrong.sentence);
  }
}

TEST_CASE("a file of another grammar, version or machine is an error that says so") {
  const TuningFiles files;
  const auto is = [&](const std::string& text, const std::string& sentence,
                      ErrorCode code = ErrorCode::malformed_file) {
    CAPTURE(text);
    CHECK(files.sentence(text, code) == "RAPT_TUNING: " + files.path() + ": " + sentence);
  };
  is("", "is not valid JSON in UTF-8 at byte 1");
  is("{\"rapt_tuning\": 1", "is not valid JSON in UTF-8 at byte 18");
  is("{} {}", "is not valid JSON in UTF-8 at byte 4");
  is("5", "the file must be an object, found the number 5");
  is("[1]", "the file must be an object, found an array");
  is("{}", "has no \"rapt_tuning\"");
  is(R"({"rapt_tuning": 1})", "has no \"machine\"");
  is(R"({"rapt_tuning": 2, "machine": ""})", "rapt_tuning is 2, but this library reads version 1");
  is(R"({"rapt_tuning": 1, "machine": 1})", "\"machine\" must be a string, found the number 1");
  is(R"({"rapt_tuning": 1, "machine": "toaster\n"})",
     fmt::format(R"(machine is "toaster\x0a", but this one is "{}")", dispatch::machine_id()),
     ErrorCode::invalid_argument);
  is(std::string(70'000, ' '), "has more than 65536 bytes, which no tuning file has",
     ErrorCode::file_error);
}

TEST_CASE("a file with random bytes changed is read or is an Error") {
  const TemporaryDirectory folder;
  const std::string good =
      R"({"rapt_tuning": 1, "machine": "a b", "call": {"inline_work": 9}, "avx2": {"x": -1}})";
  const std::uint64_t samples = quick() ? 300 : 3000;
  for (std::uint64_t seed = 0; seed < samples; ++seed) {
    Random random(seed);
    std::string text = good;
    for (std::int64_t n = random.below(3); n >= 0; --n) {
      const auto at = static_cast<std::size_t>(random.below(std::ssize(text)));
      // Most often a byte that the grammar knows.
      const std::string known = "{}[]\":,-.0e19 \\";
      text[at] = random.below(4) > 0
                     ? known[static_cast<std::size_t>(random.below(std::ssize(known)))]
                     : static_cast<char>(random.below(256));
      if (random.below(4) == 0) text.resize(at);
      if (text.empty()) break;
    }
    CAPTURE(text);
    try {
      const io::TuningFile file = io::read_tuning_file(folder.write("tuning.json", text));
      CHECK(file.numbers.size() <= 2);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::malformed_file);
    }
  }
}

TEST_CASE("a path that is no regular file is an error that names RAPT_TUNING and the path") {
  const TemporaryDirectory folder;
  REQUIRE(::mkfifo(folder.path("pipe").c_str(), 0600) == 0);
  for (const auto& [path, reason] : {std::pair{folder.path("none"), "No such file or directory"},
                                     std::pair{folder.path("."), "Is a directory"},
                                     std::pair{folder.path("pipe"), "not a regular file"},
                                     std::pair{std::string("/dev/zero"), "not a regular file"}}) {
    const Variable named("RAPT_TUNING", path.c_str());
    const std::string sentence =
        sentence_of([] { dispatch::active_kernels(); }, ErrorCode::file_error);
    CHECK(sentence == "RAPT_TUNING: " + path + ": cannot be read: " + reason);
    CHECK_THROWS_AS(dispatch::call_tuning(), Error);  // again, as long as it is wrong
  }
}

TEST_CASE("without RAPT_TUNING the file of the cache directory is read; off and empty mean none") {
  const TuningFiles files;
  const Variable cache("XDG_CACHE_HOME", files.folder().path(".").c_str());
  files.write_for_user(files.text_of(R"("scalar": {"query_rows": 6})"));
  {
    const Variable none("RAPT_TUNING", nullptr);
    CHECK(dispatch::kernels_of(Isa::scalar).tuning.query_rows == 6);
    CHECK(dispatch::tuning_source().path == dispatch::user_tuning_path());
  }
  for (const char* off : {"off", ""}) {
    const Variable named("RAPT_TUNING", off);
    CHECK(dispatch::kernels_of(Isa::scalar).tuning.query_rows == 32);
    CHECK(dispatch::tuning_source().path.empty());
  }
}

TEST_CASE("a wrong file in the cache directory is ignored as a whole, for a reason") {
  const TuningFiles files;
  const Variable cache("XDG_CACHE_HOME", files.folder().path(".").c_str());
  const Variable none("RAPT_TUNING", nullptr);
  for (const std::string& text :
       {std::string("{"), files.text_of(R"("scalar": {"query_rows": 6, "rows": 1})"),
        std::string(R"({"rapt_tuning": 1, "machine": "another"})"), std::string(70'000, ' ')}) {
    files.write_for_user(text);
    dispatch::reset_tuning();
    CHECK(dispatch::kernels_of(Isa::scalar).tuning.query_rows == 32);
    CHECK(dispatch::tuning_source().path.empty());
    CHECK(dispatch::tuning_source().ignored.starts_with(dispatch::user_tuning_path() + ": "));
  }
}

TEST_CASE("the cache directory is XDG_CACHE_HOME, else .cache in HOME, both absolute") {
  const Variable home("HOME", "/home/a");
  {
    const Variable cache("XDG_CACHE_HOME", "/var/b");
    CHECK(dispatch::user_tuning_path() == "/var/b/rapt/tuning.json");
  }
  for (const char* unusable : {static_cast<const char*>(nullptr), "", "b"}) {
    const Variable cache("XDG_CACHE_HOME", unusable);
    CHECK(dispatch::user_tuning_path() == "/home/a/.cache/rapt/tuning.json");
    const Variable relative("HOME", "a");
    CHECK(dispatch::user_tuning_path().empty());
  }
}

TEST_CASE("threads that use a tuning first at the same time get the same one") {
  const TuningFiles files;
  const std::string path =
      files.folder().write("tuning.json", files.text_of(R"("scalar": {"query_rows": 6})"));
  const Variable named("RAPT_TUNING", path.c_str());
  for (int repeat = 0; repeat < 20; ++repeat) {
    dispatch::reset_tuning();
    std::vector<const kernels::KernelSet*> seen(4);
    std::vector<std::thread> threads;
    for (auto& place : seen) {
      threads.emplace_back([&place] { place = &dispatch::tuned_kernels(Isa::scalar); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto* set : seen) CHECK(set == seen[0]);
    CHECK(seen[0]->tuning.query_rows == 6);
  }
}

TEST_CASE("a machine is known by its processor and its second and third cache") {
  const std::string x86 =
      "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 68\n"
      "model name\t: AMD\x1b[31m\nstepping\t: 0\n\nprocessor\t: 1\nstepping\t: 9\n";
  const std::vector<dispatch::CacheText> caches = {{"1\n", "Data\n", "48K\n"},
                                                   {"1\n", "Instruction\n", "32K\n"},
                                                   {"2\n", "Unified\n", "1024K\n"},
                                                   {"3\n", "Unified\n", "32M\n"}};
  CHECK(dispatch::machine_id_of(x86, caches) ==
        "AuthenticAMD family 26 model 68 stepping 0, L2 1048576, L3 33554432");
  CHECK(dispatch::machine_id_of("CPU implementer\t: 0x41\nCPU variant\t: 0x1\nCPU part\t: 0xd40\n",
                                {}) == "implementer 0x41 part 0xd40 variant 0x1");
  CHECK(dispatch::machine_id_of("", {}) == "unknown");
}

}  // namespace rapt::test
