// Few rows over a cache: kv heads that lie side by side in a page share an item, as many as the
// threads leave. However many they are, each head has the bits of the scalar statement.
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "arena.hpp"
#include "paged_problem.hpp"
#include "problems.hpp"
#include "ragged_problem.hpp"
#include "rapt/attention.hpp"
#include "test_level.hpp"

namespace rapt::test {
namespace {

constexpr std::int64_t kKeys = 530;

/// One query in a sequence of two blocks and a part, two in a short one, three in one of a block.
Cuts cuts() { return {.q = {0, 1, 3, 6}, .kv = {0, kKeys, kKeys + 10, kKeys + 266}}; }

/// Kv heads that make two groups in one thread, and two query heads for each.
Spec decoding() {
  Spec spec;
  spec.shape = {.heads = 22,
                .kv_heads = 11,
                .q_len = 6,
                .kv_len = kKeys + 266,
                .head_dim = 20,
                .value_dim = 16};
  spec.lse = true;
  return spec;
}

/// In one thread heads go by six and five, in two by four and three, in nine alone.
void check_heads(const Problem& problem) {
  const Outputs want = run_ragged_statement(problem, cuts());
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    for (const int threads : {1, 2, 9}) {
      if (quick() && threads == 9) continue;
      const Outputs got = in_arena(
          threads, [&] { return run_cached(cross_attention, problem, cuts(), Random(7)); });
      CHECK_MESSAGE(same_bits(got, want), isa_name(isa), " with ", threads,
                    " threads: ", describe(problem.spec));
    }
  }
}

void check_heads(const Spec& spec) { check_heads(Problem(spec)); }

}  // namespace

TEST_CASE("heads together: masks and score options") {
  check_heads(decoding());
  Spec spec = decoding();
  spec.mask = causal().windowed(270, 0);
  spec.alibi_slope = 0.25f;
  spec.sink = 0.5f;
  check_heads(spec);
  spec = decoding();
  spec.soft_cap = 3.0f;
  spec.bias = true;
  spec.callback = Callback::bend;
  check_heads(spec);
}

TEST_CASE("heads together: queries that are normalised and rotated") {
  Spec spec = decoding();
  spec.qk_norm = 1e-6f;
  spec.rope = Rope::half;
  check_heads(spec);
}

TEST_CASE("heads together: outputs beside out") {
  Spec spec = decoding();
  spec.weights = true;
  spec.weight_sums = WeightSums::per_kv_head;
  spec.state_in = true;
  spec.state_out = true;
  check_heads(spec);
}

TEST_CASE("heads together: what is not finite in one head stays there") {
  for (const std::int64_t head : {0, 4, 10}) {
    for (const float poison :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Problem values(decoding());
      values.v(0, head, 300, 5) = poison;
      check_heads(values);
      Problem keys(decoding());
      keys.k(0, head, 300, 5) = poison;
      keys.k(0, head, kKeys + 20, 5) = poison;
      check_heads(keys);
    }
  }
}

}  // namespace rapt::test
