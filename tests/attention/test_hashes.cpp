// The bits of a fixed list of problems, on every ISA that runs here and by the scalar statement,
// against the committed table tests/hashes/table.txt. RAPT_WRITE_HASHES=FILE writes the table
// instead: a changed table means changed bits of Rapt.
#include "attention/fixed_problems.hpp"
#include "rapt/isa.hpp"
#include "support/problems.hpp"
#include "support/random_tuning.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace {

using rapt::test::Engine;
using rapt::test::FixedProblem;

using Table = std::map<std::string, std::string>;

std::string hex(std::uint64_t hash) {
  std::string text(16, '0');
  for (auto digit = text.rbegin(); digit != text.rend(); ++digit, hash >>= 4) {
    *digit = "0123456789abcdef"[hash & 15u];
  }
  return text;
}

std::string hash_of(const FixedProblem& problem, const Engine& engine) {
  return hex(rapt::test::hash_bits(problem.solve(engine)));
}

Table read_table(const std::string& path) {
  std::ifstream file(path);
  Table table;
  std::string name, hash;
  while (file >> name >> hash) table[name] = hash;
  return table;
}

void write_table(const std::string& path) {
  const Engine statement{.name = "the scalar statement", .statement = true};
  std::ofstream file(path);
  for (const FixedProblem& problem : rapt::test::fixed_problems()) {
    file << problem.name << ' ' << hash_of(problem, statement) << '\n';
  }
  file.close();
  REQUIRE_MESSAGE(file.good(), "cannot write ", path);
}

void check_all(const Table& table, const Engine& engine) {
  for (const FixedProblem& problem : rapt::test::fixed_problems()) {
    const auto row = table.find(problem.name);
    const std::string wanted = row == table.end() ? "no such row" : row->second;
    const std::string hash = hash_of(problem, engine);
    CHECK_MESSAGE(hash == wanted, problem.name, " on ", engine.name, ": ", hash,
                  ", in the table: ", wanted);
  }
}

std::string table_path() {
  const char* const written = std::getenv("RAPT_WRITE_HASHES");
  if (written == nullptr) return RAPT_TESTS_FOLDER "/hashes/table.txt";
  write_table(written);
  return written;
}

}  // namespace

TEST_CASE("every ISA and the scalar statement give the bits of the committed table") {
  const Table table = read_table(table_path());
  CHECK(table.size() == rapt::test::fixed_problems().size());
  check_all(table, {.name = "the scalar statement", .statement = true});
  for (const rapt::Isa isa : rapt::available_isas()) {
    const rapt::test::ForcedIsa forced(isa);
    check_all(table, {.name = std::string(rapt::isa_name(isa)), .isa = isa});
  }
}

TEST_CASE("every ISA gives the bits of the committed table with any tuning") {
  const Table table = read_table(RAPT_TESTS_FOLDER "/hashes/table.txt");
  for (const std::uint64_t seed : {1, 2, 3}) {
    const rapt::test::RandomTuning tuning(seed);
    for (const rapt::Isa isa : rapt::available_isas()) {
      const rapt::test::ForcedIsa forced(isa);
      const std::string name(rapt::isa_name(isa));
      check_all(table, {.name = name + ", tuning " + std::to_string(seed), .isa = isa});
    }
  }
}

TEST_CASE("the hash is FNV-1a and depends on every bit") {
  // The published test values of FNV-1a, 64 bits.
  CHECK(rapt::test::hash_text("") == 0xcbf29ce484222325u);
  CHECK(rapt::test::hash_text("foobar") == 0x85944171f73967e8u);
  CHECK(rapt::test::hash_bits(std::vector<float>{0.0f}) !=
        rapt::test::hash_bits(std::vector<float>{-0.0f}));
}
