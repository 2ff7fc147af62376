// The choice of kernels: forcing takes effect, and a wrong name or ISA changes nothing.
#include "dispatch/dispatch.hpp"
#include "dispatch/isa_table.hpp"
#include "kernels/isa_list.hpp"
#include "rapt/error.hpp"
#include "rapt/isa.hpp"
#include "rapt/version.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using rapt::Isa;

#define RAPT_ENUMERATOR(isa) Isa::isa,
constexpr Isa kAllIsas[] = {RAPT_KNOWN_ISAS(RAPT_ENUMERATOR)};

// An enumerator missing from the list of ISAs is an error here; one missing from the enumeration is
// an error above.
#pragma GCC diagnostic error "-Wswitch"
#define RAPT_LISTED(isa) case Isa::isa:
constexpr bool is_listed(Isa isa) {
  switch (isa) {
    RAPT_KNOWN_ISAS(RAPT_LISTED)
    return true;
  }
  return false;
}
static_assert(is_listed(Isa::scalar));

// Restores the process's default ISA, however a test ends.
struct IsaGuard {
  IsaGuard() = default;
  IsaGuard(const IsaGuard&) = delete;
  IsaGuard& operator=(const IsaGuard&) = delete;
  ~IsaGuard() { rapt::reset_isa(); }
};

// The sentence of the Error{unsupported_isa} that `call` throws; empty if it throws none.
template <class Call>
std::string unsupported_sentence(const Call& call) {
  try {
    call();
  } catch (const rapt::Error& error) {
    CHECK(error.code() == rapt::ErrorCode::unsupported_isa);
    return error.what();
  }
  return {};
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("forcing an ISA takes effect: the active kernels are those of that ISA") {
  const IsaGuard guard;
  for (const Isa isa : rapt::available_isas()) {
    CAPTURE(rapt::isa_name(isa));
    rapt::force_isa(isa);
    CHECK(rapt::active_isa() == isa);
    CHECK(std::string_view(rapt::dispatch::active_kernels().name) == rapt::isa_name(isa));
    CHECK(&rapt::dispatch::active_kernels() == &rapt::dispatch::kernels_of(isa));
  }
}

TEST_CASE("every compiled ISA has its own kernels, named like it, with every function present") {
  std::vector<const void*> seen;
  for (const rapt::dispatch::IsaRow& row : rapt::dispatch::isa_table()) {
    CAPTURE(rapt::isa_name(row.isa));
    const rapt::kernels::KernelSet& set = *row.kernels;
    CHECK(std::string_view(set.name) == rapt::isa_name(row.isa));
    CHECK(std::ranges::count(seen, static_cast<const void*>(&set)) == 0);
    seen.push_back(&set);
    CHECK(set.lanes >= 1);
    CHECK(set.tiles.rows >= 1);
    CHECK(rapt::kernels::kPanel % set.tiles.columns == 0);
    CHECK(set.tuning.query_rows % set.tiles.rows == 0);
    CHECK((set.stream_rows && set.attend_scratch && set.attend && set.fold && set.linear_scratch &&
           set.linear));
    CHECK((set.sum_weights_scratch && set.sum_weights && set.merge_states && set.merge_results));
    CHECK((set.normalize && set.rotate && set.layer_norm && set.softmax_rows));
    CHECK((set.pack_keys && set.pack_values && set.pack_weight));
    CHECK((set.exp2 && set.pack_rows));
    CHECK((set.scores && set.softmax && set.values));
    CHECK((set.fma_chains && set.read_floats));
  }
}

TEST_CASE("the available ISAs are the compiled ones that run here, in the same order") {
  const auto compiled = rapt::compiled_isas();
  const std::vector<Isa> available = rapt::available_isas();
  REQUIRE(!available.empty());
  CHECK(available.back() == Isa::scalar);
  CHECK(compiled.back() == Isa::scalar);
  std::vector<Isa> expected;
  std::ranges::copy_if(compiled, std::back_inserter(expected), rapt::isa_available);
  CHECK(available == expected);
  for (const Isa isa : kAllIsas) {
    CHECK(rapt::isa_available(isa) == (std::ranges::count(available, isa) == 1));
  }
}

TEST_CASE("a name and its ISA are each other's inverse") {
  for (const Isa isa : kAllIsas) CHECK(rapt::parse_isa(rapt::isa_name(isa)) == isa);
}

TEST_CASE("an unknown ISA name is an error that lists the known ones") {
  for (const char* name : {"", "AVX2", "avx", "sse2", "avx512 ", "best"}) {
    CAPTURE(name);
    const std::string sentence = unsupported_sentence([&] { rapt::parse_isa(name); });
    CHECK(contains(sentence, "\"" + std::string(name) + "\""));
    for (const Isa isa : kAllIsas) CHECK(contains(sentence, rapt::isa_name(isa)));
  }
}

TEST_CASE("forcing an ISA that is not available is an error and leaves the active one unchanged") {
  const IsaGuard guard;
  for (const Isa before : rapt::available_isas()) {
    rapt::force_isa(before);
    std::vector<Isa> isas(std::begin(kAllIsas), std::end(kAllIsas));
    isas.push_back(static_cast<Isa>(17));
    for (const Isa isa : isas) {
      if (rapt::isa_available(isa)) continue;
      CAPTURE(rapt::isa_name(isa));
      const std::string sentence = unsupported_sentence([&] { rapt::force_isa(isa); });
      const bool compiled = std::ranges::count(rapt::compiled_isas(), isa) == 1;
      CHECK(contains(sentence, rapt::isa_name(isa)));
      CHECK(contains(sentence, compiled ? "not supported by this CPU" : "not compiled into"));
      CHECK(rapt::active_isa() == before);
      CHECK(!unsupported_sentence([&] { rapt::dispatch::kernels_of(isa); }).empty());
    }
  }
}

TEST_CASE("resetting a forced ISA restores the default") {
  rapt::reset_isa();
  const Isa initial = rapt::active_isa();
  for (const Isa isa : rapt::available_isas()) {
    rapt::force_isa(isa);
    rapt::reset_isa();
    CHECK(rapt::active_isa() == initial);
  }
}

TEST_CASE("threads that force and use ISAs concurrently always see an available one") {
  const IsaGuard guard;
  const std::vector<Isa> isas = rapt::available_isas();
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 1000; ++i) {
        if (i % 3 == 0) rapt::reset_isa();
        if (i % 3 == 1) rapt::force_isa(isas[(i + t) % isas.size()]);
        if (std::ranges::count(isas, rapt::active_isa()) != 1) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(std::ranges::count(wrong, 0) == 4);
}

TEST_CASE("the library's version is that of its headers") {
  CHECK(std::string_view(rapt::version()) == RAPT_VERSION);
}
