// The number of threads changes no bit, and const objects may be used from many threads.
#include "rapt/attention.hpp"
#include "rapt/linear.hpp"
#include "support/arena.hpp"
#include "support/check_every_isa.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace rapt::test {
namespace {

Outputs run_with(int threads, const Problem& problem) {
  return in_arena(threads, [&] { return run(attention, problem); });
}

/// Skips threads in a child of fork().
#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

std::vector<Spec> specs_to_share() {
  std::vector<Spec> specs;
  // Many rows: divided by query tiles and heads.
  Spec prefill;
  prefill.shape = {.batch = 2,
                   .heads = 4,
                   .kv_heads = 2,
                   .q_len = quick() ? 70 : 200,
                   .kv_len = quick() ? 100 : 300,
                   .head_dim = 32,
                   .value_dim = 32};
  prefill.mask = causal_bottom_right();
  prefill.lse = true;
  prefill.weights = true;
  prefill.weight_sums = WeightSums::per_kv_head;
  specs.push_back(prefill);
  // One row against a long cache: divided by key blocks.
  Spec decode;
  decode.shape = {.heads = 4,
                  .kv_heads = 1,
                  .kv_len = quick() ? 3000 : 20'000,
                  .head_dim = 64,
                  .value_dim = 64};
  decode.lse = true;
  decode.weight_sums = WeightSums::per_head;
  decode.state_in = true;
  decode.state_out = true;
  specs.push_back(decode);
  decode.weights = true;
  decode.bias = true;
  specs.push_back(decode);
  // The sinks are folded after the blocks of all threads, and a window excludes the first block.
  decode.weights = false;
  decode.mask = causal_bottom_right().windowed(decode.shape.kv_len * 3 / 4, 0);
  decode.soft_cap = 20.0f;
  decode.alibi_slope = 0.001f;
  decode.sink = 2.0f;
  specs.push_back(decode);
  // Weights of keys in blocks that no thread computes.
  decode.weights = true;
  specs.push_back(decode);
  return specs;
}

}  // namespace

TEST_CASE("one thread and many give the same bits") {
  for (const Spec& spec : specs_to_share()) {
    const Problem problem(spec);
    for (const Isa isa : available_isas()) {
      const ForcedIsa forced(isa);
      const Outputs want = run_with(1, problem);
      for (const int threads : {2, 3, 7, 16}) {
        for (int repeat = 0; repeat < 3; ++repeat) {
          CHECK_MESSAGE(same_bits(run_with(threads, problem), want), isa_name(isa), " with ",
                        threads, " threads: ", describe(spec));
        }
      }
    }
  }
}

TEST_CASE("one thread has the scalar statement's bits if windows end before an item's last block") {
  // On one thread an item holds all rows, and in each block most of them see no key.
  for (const std::int64_t left : {0, 3, 100, 300}) {
    for (const std::int64_t value_dim : {1, 16, 33}) {
      Spec spec;
      spec.shape = {.q_len = 900, .kv_len = 900, .head_dim = 3, .value_dim = value_dim};
      spec.mask = causal().windowed(left, 0);
      spec.lse = true;
      in_arena(1, [&spec] { check_every_isa(spec); });
      spec.mask = Mask{.query_offset = -500}.windowed(kNoWindow, left);
      in_arena(1, [&spec] { check_every_isa(spec); });
    }
  }
}

TEST_CASE("a linear layer gives the same bits on one thread and on many") {
  constexpr std::int64_t kRows = 150, kIn = 520, kOut = 300;
  const std::vector<float> weight = normal_floats(kOut * kIn, 1);
  const std::vector<float> x = normal_floats(kRows * kIn, 2);
  const Linear layer(TensorView<const float, 2>(weight.data(), {kOut, kIn}));
  const auto forward = [&](int threads) {
    std::vector<float> y(kRows * kOut);
    in_arena(threads, [&] { layer.forward({x.data(), {kRows, kIn}}, {y.data(), {kRows, kOut}}); });
    return y;
  };
  const std::vector<float> want = forward(1);
  for (const int threads : {2, 5, 16}) CHECK(same_bits(forward(threads), want));
}

TEST_CASE("a child of fork after a parallel call computes the same bits within 5 seconds" *
          doctest::skip(kThreadSanitizer)) {
  const Problem problem(specs_to_share().front());
  const Outputs want = run(attention, problem);
  // The threads that helped are about to sleep, with or without a lock.
  for (int times = quick() ? 5 : 50; times > 0; --times) {
    run_with(8, problem);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(5);
      _exit(same_bits(run(attention, problem), want) ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
  }
}

TEST_CASE("calls from many threads at once, and from tasks, have the bits of a single call") {
  std::vector<Problem> problems;
  std::vector<Outputs> want;
  for (const Spec& spec : specs_to_share()) {
    problems.emplace_back(spec);
    want.push_back(run(attention, problems.back()));
  }
  const int calls = quick() ? 2 : 6;
  std::atomic<int> wrong{0};
  const auto call = [&](int n) {
    const auto which = static_cast<std::size_t>(n) % problems.size();
    if (!same_bits(run(attention, problems[which]), want[which])) ++wrong;
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&call, calls, t] {
      for (int n = 0; n < calls; ++n) call(n + t);
    });
  }
  for (std::thread& thread : threads) thread.join();
  tbb::parallel_for(0, 8 * calls, call);
  CHECK(wrong == 0);
}

}  // namespace rapt::test
