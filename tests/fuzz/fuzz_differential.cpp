// Random problems, every ISA with one and two threads and a random tuning against the scalar
// statement, bit for bit.
//   fuzz_differential FIRST_SEED COUNT      exit status 1 when a problem differs; its seed is
//   printed
#include "fuzz/fuzz_problem.hpp"
#include "fuzz/seeded_run.hpp"
#include "rapt/attention.hpp"
#include "rapt/isa.hpp"
#include "reference/scalar.hpp"
#include "support/paged_problem.hpp"
#include "support/problems.hpp"
#include "support/ragged_problem.hpp"
#include "support/random_tuning.hpp"

#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

/// The storages of two outputs by name, to report where they differ.
struct Part {
  const char* name;
  const std::vector<float>& got;
  const std::vector<float>& want;
};

/// "out: element 5 is 1.5 (0x3fc00000), not 2 (0x40000000)"
std::string first_difference(const Outputs& got, const Outputs& want) {
  const Part parts[] = {{"out", got.out_storage, want.out_storage},
                        {"lse", got.lse_storage, want.lse_storage},
                        {"weights", got.weights_storage, want.weights_storage},
                        {"weight_sums", got.sums_storage, want.sums_storage},
                        {"state m", got.state_storage.m, want.state_storage.m},
                        {"state l", got.state_storage.l, want.state_storage.l},
                        {"state o", got.state_storage.o, want.state_storage.o}};
  for (const Part& part : parts) {
    for (std::size_t i = 0; i < part.want.size(); ++i) {
      const auto bits = [](float x) { return __builtin_bit_cast(std::uint32_t, x); };
      const float x = part.got[i], y = part.want[i];
      if (bits(x) == bits(y)) continue;
      char text[160];
      std::snprintf(text, sizeof text, "%s: element %zu is %.9g (%08x), not %.9g (%08x)", part.name,
                    i, static_cast<double>(x), bits(x), static_cast<double>(y), bits(y));
      return text;
    }
  }
  return "no element differs";
}

class Fuzzer {
 public:
  /// Whether every ISA gives the scalar statement's bits; prints the differences.
  bool passes(std::uint64_t seed) {
    const RandomTuning tuning(seed);
    const Problem problem = fuzz_problem(seed);
    bool same = compare(seed, problem, "padded", run(reference::attention, problem),
                        [&] { return run(attention, problem); });
    if (seed % 2 == 1 || !can_be_ragged(problem.spec)) return same;
    Random random(seed);
    const Spec& spec = problem.spec;
    const Cuts cuts = seed % 4 == 0 ? random_cuts(spec, random) : random_forks(spec, random);
    const Outputs want = run_ragged_statement(problem, cuts);
    const auto try_as = [&](const char* name, const auto& compute) {
      same &= compare(seed, problem, name, want, compute);
    };
    if (!cuts.from_start) try_as("ragged", [&] { return run_ragged(problem, cuts); });
    if (!can_be_paged(spec)) return same;
    try_as("paged", [&] { return run_paged(problem, cuts, random); });
    try_as("crossed", [&] { return run_cached(cross_attention, problem, cuts, random); });
    if (can_be_cached(spec, cuts)) {
      try_as("cached", [&] { return run_cached(attention, problem, cuts, random); });
    }
    if (changes_keys(spec)) return same;
    const Outputs of_bytes = run_ragged_statement(problem, cuts, true);
    same &= compare(seed, problem, "cached as bytes", of_bytes,
                    [&] { return run_cached(cross_attention, problem, cuts, random, true); });
    return same;
  }

 private:
  template <class Compute>
  bool compare(std::uint64_t seed, const Problem& problem, const char* batch, const Outputs& want,
               const Compute& compute) {
    bool same = true;
    for (const Isa isa : isas_) {
      const ForcedIsa forced(isa);
      for (tbb::task_arena* arena : {&one_, &two_}) {
        const Outputs got = arena->execute(compute);
        if (same_bits(got, want)) continue;
        same = false;
        std::printf("seed %llu, %s, %s, %d threads: %s\n  %s\n",
                    static_cast<unsigned long long>(seed), batch,
                    std::string(isa_name(isa)).c_str(), arena->max_concurrency(),
                    first_difference(got, want).c_str(), describe(problem.spec).c_str());
      }
    }
    return same;
  }

  tbb::global_control allow_{tbb::global_control::max_allowed_parallelism, 2};
  tbb::task_arena one_{1}, two_{2};
  std::vector<Isa> isas_ = available_isas();
};

int fuzz(std::uint64_t first, std::uint64_t count) {
  Fuzzer fuzzer;
  std::uint64_t failed = 0;
  for (std::uint64_t n = 0; n < count && failed < 20; ++n) {
    failed += fuzzer.passes(first + n) ? 0 : 1;
    if ((n + 1) % 10'000 == 0) {
      std::printf("%llu problems\n", static_cast<unsigned long long>(n + 1));
      std::fflush(stdout);
    }
  }
  print_failures(first, count, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace rapt::test

int main(int argc, char** argv) {
  return rapt::test::seeded_run("fuzz_differential", argc, argv, rapt::test::fuzz);
}
