// Items of one key block that produce only out and lse write them directly from registers; those of
// several blocks, whose row tiles start and end at different ones, do not. Over dims that are whole
// column tiles on every ISA.
#include "rapt/attention.hpp"
#include "reference/scalar.hpp"
#include "support/check_every_isa.hpp"
#include "support/on_every_isa.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

/// Enough blocks for rows to start and end in different ones.
std::int64_t tokens() { return quick() ? 530 : 900; }

/// `heads` on one kv head, every token attending to all, with lse.
Spec many_rows(std::int64_t heads, std::int64_t value_dim, std::int64_t keys = tokens()) {
  Spec spec;
  spec.shape = {
      .heads = heads, .q_len = tokens(), .kv_len = keys, .head_dim = 16, .value_dim = value_dim};
  spec.lse = true;
  return spec;
}

/// Masks under which neighbouring rows start and end in different blocks.
std::vector<Mask> masks_with_changing_rows() {
  return {causal(0), causal(0).windowed(300, 0), Mask{}.windowed(40, 40),
          Mask{.query_offset = 200}.windowed(60, 0)};
}

/// Compares with the scalar statement on every ISA, on one thread and on three, where items start
/// between the heads of a query.
void check_threads(const Problem& problem) {
  const Outputs want = run(reference::attention, problem);
  on_every_isa({1, 3}, [&] {
    CHECK_MESSAGE(same_bits(run(attention, problem), want), describe(problem.spec));
  });
}

}  // namespace

TEST_CASE("direct outputs: causal rows and windows") {
  for (const std::int64_t heads : {1, 3, 5}) {
    for (const std::int64_t value_dim : {32, 96}) {
      if (quick() && (heads != 3 || value_dim != 32)) continue;
      for (const Mask& mask : masks_with_changing_rows()) {
        Spec spec = many_rows(heads, value_dim);
        spec.mask = mask;
        check_threads(Problem(spec));
      }
    }
  }
}

TEST_CASE("direct outputs: one key block, and NaN and infinity in it") {
  for (const std::int64_t value_dim : {32, 96}) {
    for (const Mask& mask : {Mask{}, causal(0), Mask{}.windowed(600, 60)}) {
      Spec spec = many_rows(3, value_dim, 200);
      spec.mask = mask;
      check_threads(Problem(spec));
      for (const float poison :
           {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        Problem problem(spec);
        problem.v(0, 0, 199, 5) = poison;
        check_every_isa(problem);
      }
    }
  }
}

TEST_CASE("direct outputs: prefixes, lengths and score options") {
  Spec spec = many_rows(3, 32);
  spec.mask = causal(0);
  spec.mask.window_left = 60;
  spec.prefix_per_sequence = true;
  check_threads(Problem(spec));
  spec = many_rows(3, 32);
  spec.mask = causal(200);
  spec.kv_lens = true;
  check_threads(Problem(spec));
  for (const bool capped : {false, true}) {
    spec = many_rows(3, 32);
    spec.mask = causal(0).windowed(300, 0);
    if (capped) spec.soft_cap = 3.0f;
    spec.alibi_slope = 0.25f;
    spec.sink = 0.5f;
    check_threads(Problem(spec));
  }
}

TEST_CASE("direct outputs: NaN and infinity at the first, a middle and the last key") {
  for (const float poison :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const std::int64_t key : {std::int64_t{0}, std::int64_t{300}, tokens() - 1}) {
      for (const Mask& mask : {causal(0), causal(0).windowed(300, 0)}) {
        Spec spec = many_rows(3, 32);
        spec.mask = mask;
        Problem problem(spec);
        problem.v(0, 0, key, 5) = poison;
        check_every_isa(problem);
      }
    }
  }
}

TEST_CASE("values of many rows with the smallest and largest strides") {
  Spec spec;
  spec.shape = {.q_len = 130, .kv_len = 300, .head_dim = 16, .value_dim = 32};
  const Problem dense(spec);
  const Outputs want = run(reference::attention, dense);
  for (const std::int64_t stride : {32, 64, 128, 160, -32, -160}) {
    Problem problem(spec);
    std::vector<float> memory(static_cast<std::size_t>(300 * 160),
                              std::numeric_limits<float>::quiet_NaN());
    float* const first = memory.data() + (stride < 0 ? -299 * stride : 0);
    for (std::int64_t j = 0; j < 300; ++j) {
      for (std::int64_t c = 0; c < 32; ++c) first[j * stride + c] = dense.v(0, 0, j, c);
    }
    problem.v.data = first;
    problem.v.strides[2] = stride;
    for (const Isa isa : available_isas()) {
      const ForcedIsa forced(isa);
      CHECK_MESSAGE(same_bits(run(attention, problem), want), isa_name(isa), ", rows ", stride,
                    " apart");
    }
  }
  spec.shape.value_dim = 160;
  check_every_isa(spec);
}

}  // namespace rapt::test
