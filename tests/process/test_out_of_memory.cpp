// Each allocation of a call fails once: the call gives Error{out_of_memory} without a leak, and the
// next call is correct.
#include "process/allocation_hooks.hpp"
#include "rapt/attention.hpp"
#include "rapt/error.hpp"
#include "rapt/kv_cache.hpp"
#include "rapt/linear.hpp"
#include "rapt/multi_head_attention.hpp"
#include "support/arena.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <new>
#include <thread>
#include <vector>

namespace rapt::test {
namespace {

/// The outcome of a call with a failing allocation.
enum class End { success, out_of_memory, other };

End end_of(const std::function<void()>& call) {
  try {
    call();
    return End::success;
  } catch (const Error& error) {
    return error.code() == ErrorCode::out_of_memory ? End::out_of_memory : End::other;
  } catch (...) {
    return End::other;
  }
}

/// Fails the first, second, ... allocation of `call`, each time on a new thread without workspace;
/// no other thread takes part, since it would keep a workspace. `again` returns whether the call is
/// correct afterwards.
void fail_each_allocation(const std::function<void()>& call, const std::function<bool()>& again) {
  const auto alone = [](const auto& work) { std::thread([&] { in_arena(1, work); }).join(); };
  alone(again);  // allocations made once per program
  bool failed = true;
  for (std::int64_t n = 1; failed; ++n) {
    REQUIRE(n < 1000);
    End end = End::other;
    bool right = false;
    const std::int64_t before = live_allocations;
    alone([&] {
      fail_allocation(n);
      end = end_of(call);
      fail_allocation(0);
      right = again();
    });
    CAPTURE(n);
    CHECK(end != End::other);
    CHECK(right);
    CHECK(live_allocations == before);
    failed = end != End::success;
    if (!failed) CHECK(n > 1);
  }
}

}  // namespace

TEST_CASE("a failed allocation in attention is an error without a leak, and later calls succeed") {
  Spec spec;
  spec.shape = {.batch = 2, .heads = 4, .kv_heads = 2, .q_len = 9, .kv_len = 300};
  spec.mask = causal();
  spec.offset_per_sequence = true;
  spec.kv_lens = true;
  spec.alibi_slope = 0.5f;
  spec.sink = 1.0f;
  spec.callback = Callback::bend;
  spec.weights = true;
  spec.weights_rows = true;
  spec.weight_sums = WeightSums::per_head;
  spec.state_out = true;
  Spec decode;
  decode.shape = {.kv_len = 9000, .head_dim = 64, .value_dim = 64};
  for (const Spec& one : {spec, decode}) {
    const Problem problem(one);
    const Outputs want = run(attention, problem);
    Outputs got(one);
    AttentionOptions options = problem.options;
    options.weights_rows = problem.weights_rows;
    write_to(got, options);
    const auto call = [&] { attention(problem.q, problem.k, problem.v, got.out, options); };
    fail_each_allocation(call, [&] {
      call();
      return same_bits(got, want);
    });
  }
}

TEST_CASE("a failed allocation in a layer is an error without a leak, and later calls succeed") {
  const std::vector<float> weight = normal_floats(64 * 64, 5), x = normal_floats(9 * 64, 6);
  const TensorView<const float, 2> matrix(weight.data(), {64, 64});
  const auto projection = [&] { return Linear(matrix); };
  const MultiHeadAttention layer({.model_dim = 64, .num_heads = 4},
                                 {projection(), projection(), projection(), projection()});
  std::vector<float> want(x.size()), got(x.size());
  const auto forward = [&](std::vector<float>& y) {
    layer.forward({x.data(), {1, 9, 64}}, {y.data(), {1, 9, 64}});
  };
  forward(want);
  const auto again = [&] {
    forward(got);
    return same_bits(got, want);
  };
  fail_each_allocation([&] { forward(got); }, again);
  fail_each_allocation([&] { projection(); }, again);
}

TEST_CASE("a failed allocation in a layer over a cache leaves the cache unchanged") {
  const std::vector<float> weight = normal_floats(64 * 64, 7), x = normal_floats(40 * 64, 8);
  const TensorView<const float, 2> matrix(weight.data(), {64, 64});
  const auto projection = [&] { return Linear(matrix); };
  const RopeTable table(Rope::half, {.rotary_dims = 16, .positions = 100});
  const MultiHeadAttention layer(
      {.model_dim = 64, .num_heads = 4, .qk_norm_epsilon = 1e-6f, .rope = table},
      {projection(), projection(), projection(), projection()});
  KvCache cache({.kv_heads = 4, .head_dim = 16, .page_tokens = 32});
  const std::int64_t sequences[] = {cache.add()}, first[] = {0, 20}, last[] = {0, 35};
  std::vector<float> y(40 * 64);
  const AttentionOptions options{.mask = causal()};
  const auto forward = [&](std::span<const std::int64_t> rows) {
    layer.forward({x.data(), {rows.back(), 64}}, cache, {.sequences = sequences, .rows = rows},
                  {y.data(), {rows.back(), 64}}, options);
  };
  forward(first);
  std::vector<float> want;
  const auto again = [&] {
    cache.truncate(sequences[0], 20);
    forward(last);
    if (want.empty()) want = y;
    cache.truncate(sequences[0], 20);
    return same_bits(y, want);
  };
  bool unchanged = true;
  fail_each_allocation(
      [&] {
        const std::int64_t pages = cache.usage().pages_used;
        try {
          forward(last);
        } catch (...) {
          unchanged =
              unchanged && cache.length(sequences[0]) == 20 && cache.usage().pages_used == pages;
          throw;
        }
      },
      again);
  CHECK(unchanged);
}

TEST_CASE("a failed allocation in append leaves sequences and pages unchanged") {
  const std::vector<float> floats(32 * 8, 1.0f);
  const TensorView<const float, 3> page(floats.data(), {32, 1, 8});
  for (const std::int64_t pages : {0, 1, 2, 5}) {
    CAPTURE(pages);
    KvCache cache({.kv_heads = 1, .head_dim = 8, .page_tokens = 32});
    const std::int64_t parent = cache.add();
    for (std::int64_t p = 0; p < pages; ++p) cache.append(parent, page, page);
    bool unchanged = true;
    // The tables of a fork are full.
    const auto append_to_fork = [&] {
      const std::int64_t fork = cache.fork(parent);
      try {
        cache.append(fork, page, page);
      } catch (...) {
        unchanged = unchanged && cache.length(fork) == 32 * pages;
        cache.remove(fork);
        unchanged = unchanged && cache.usage().pages_used == pages;
        throw;
      }
      cache.remove(fork);
    };
    fail_each_allocation(append_to_fork, [&] {
      append_to_fork();
      return cache.usage().pages_used == pages && cache.usage().sequences == 1;
    });
    CHECK(unchanged);
  }
}

}  // namespace rapt::test
