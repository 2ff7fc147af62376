// More threads than cores: callers with their own arenas that all use the machine at once.
#include "rapt/attention.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace rapt::test {
namespace {

constexpr int kCallers = 8, kThreads = 8;

/// Rows, heads and sequences that are divided among threads; and one row whose keys are.
std::vector<Spec> shared_work() {
  Spec rows;
  rows.shape = {.batch = 2,
                .heads = 4,
                .kv_heads = 2,
                .q_len = quick() ? 40 : 200,
                .kv_len = quick() ? 300 : 700,
                .head_dim = 32,
                .value_dim = 32};
  rows.mask = causal_bottom_right();
  rows.weight_sums = WeightSums::per_kv_head;
  Spec keys;
  keys.shape = {.heads = 4,
                .kv_heads = 2,
                .kv_len = quick() ? 2000 : 20'000,
                .head_dim = 64,
                .value_dim = 64};
  keys.lse = true;
  return {rows, keys};
}

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TEST_CASE("8 callers with arenas of 8 threads each all finish, with the bits of a single call") {
  const tbb::global_control allow(tbb::global_control::max_allowed_parallelism,
                                  kCallers * kThreads);
  const int calls = quick() ? 3 : 50;
  for (const Spec& spec : shared_work()) {
    const Problem problem(spec);
    Outputs want(spec);
    const double alone = seconds_of([&] {
      for (int n = 0; n < kCallers * calls; ++n) want = run(attention, problem);
    });
    std::atomic<int> wrong{0};
    const double together = seconds_of([&] {
      std::vector<std::thread> callers;
      for (int c = 0; c < kCallers; ++c) {
        callers.emplace_back([&] {
          tbb::task_arena arena(kThreads);
          for (int n = 0; n < calls; ++n) {
            arena.execute([&] { wrong += same_bits(run(attention, problem), want) ? 0 : 1; });
          }
        });
      }
      for (std::thread& caller : callers) caller.join();
    });
    CHECK(wrong == 0);
    // Reported, not checked: it depends on the load of the machine.
    if (!quick()) {
      MESSAGE("8 callers with 8 threads each take " << together / alone
                                                    << " of the time of the same calls in turn");
    }
  }
}

}  // namespace rapt::test
