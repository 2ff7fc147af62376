// The bits of a call on 1 to 64 threads, in a thousand runs.
#include "rapt/attention.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <vector>

namespace rapt::test {
namespace {

constexpr int kMaxThreads = 64;

/// Small problems that are divided in different ways: by rows and heads, by key blocks, and with
/// weight sums.
std::vector<Spec> small_specs() {
  Spec rows;
  rows.shape = {.batch = 2,
                .heads = 4,
                .kv_heads = 2,
                .q_len = 40,
                .kv_len = 70,
                .head_dim = 16,
                .value_dim = 20};
  rows.mask = causal_bottom_right();
  rows.lse = true;
  Spec blocks;
  blocks.shape = {.heads = 4, .kv_heads = 1, .kv_len = 2600, .head_dim = 32, .value_dim = 32};
  blocks.lse = true;
  blocks.state_in = true;
  blocks.state_out = true;
  Spec sums = rows;
  sums.weights = true;
  sums.weight_sums = WeightSums::per_kv_head;
  return {rows, blocks, sums};
}

}  // namespace

TEST_CASE("1 to 64 threads give the same bits in a thousand runs") {
  const tbb::global_control allow(tbb::global_control::max_allowed_parallelism, kMaxThreads);
  const int repeats = quick() ? 1 : 16, step = quick() ? 9 : 1;
  for (const Spec& spec : small_specs()) {
    const Problem problem(spec);
    Outputs want(spec);
    const auto run_on = [&](int threads) {
      return tbb::task_arena(threads).execute([&] { return run(attention, problem); });
    };
    want = run_on(1);
    for (const Isa isa : available_isas()) {
      const ForcedIsa forced(isa);
      for (int threads = 1; threads <= kMaxThreads; threads += step) {
        int different = 0;
        for (int n = 0; n < repeats; ++n) different += same_bits(run_on(threads), want) ? 0 : 1;
        CHECK_MESSAGE(different == 0, isa_name(isa), " with ", threads,
                      " threads: ", describe(spec));
      }
    }
  }
}

}  // namespace rapt::test
