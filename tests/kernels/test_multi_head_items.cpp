// Multi-head work items, over a cache or over tokens whose kv heads are adjacent: the number of
// heads per item depends on the threads, and never changes the bits.
#include "rapt/attention.hpp"
#include "reference/scalar.hpp"
#include "support/on_every_isa.hpp"
#include "support/paged_problem.hpp"
#include "support/problems.hpp"
#include "support/ragged_problem.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kKeys = 530;

/// One query in a sequence of two and a half blocks, two in a short sequence, three in a sequence
/// of one block.
Cuts cuts() { return {.q = {0, 1, 3, 6}, .kv = {0, kKeys, kKeys + 10, kKeys + 266}}; }

/// Enough kv heads for two groups on one thread, with two query heads each.
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

/// Heads per item: six and five on one thread, four and three on two, one on nine.
void check_heads(const Problem& problem) {
  const Outputs want = run_ragged_statement(problem, cuts());
  const auto check = [&] {
    const Outputs got = run_cached(cross_attention, problem, cuts(), Random(7));
    CHECK_MESSAGE(same_bits(got, want), describe(problem.spec));
  };
  on_every_isa(check);
  if (!quick()) on_every_isa({9}, check);
}

void check_heads(const Spec& spec) { check_heads(Problem(spec)); }

/// Two query heads per kv head, over tokens with all heads adjacent.
Spec decoding_tokens(std::int64_t q_len, std::int64_t head_dim, std::int64_t value_dim) {
  Spec spec;
  spec.shape = {.heads = 22,
                .kv_heads = 11,
                .q_len = q_len,
                .kv_len = 3 * 256 + 17,
                .head_dim = head_dim,
                .value_dim = value_dim};
  spec.layout = Layout::bshd;
  spec.lse = true;
  return spec;
}

/// Heads per item: six and five on one thread, four and three on two, two on four, one on nine.
void check_tokens(const Problem& problem) {
  const Outputs want = run(reference::attention, problem);
  const auto check = [&] {
    CHECK_MESSAGE(same_bits(run(attention, problem), want), describe(problem.spec));
  };
  on_every_isa(check);
  if (!quick()) on_every_isa({4, 9}, check);
}

void check_tokens(const Spec& spec) { check_tokens(Problem(spec)); }

/// The same elements as [batch, heads, tokens, dim], dense, in `storage`.
TensorView<float, 4> with_gaps_between_heads(const TensorView<float, 4>& view,
                                             std::vector<float>& storage) {
  for (std::int64_t h = 0; h < view.shape[1]; ++h) {
    for (std::int64_t t = 0; t < view.shape[2]; ++t) {
      storage.insert(storage.end(), &view(0, h, t, 0), &view(0, h, t, 0) + view.shape[3]);
    }
  }
  return {storage.data(), view.shape};
}

}  // namespace

TEST_CASE("multi-head items: masks and score options") {
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

TEST_CASE("multi-head items: masks hide other keys from each head") {
  Spec cached = decoding(), tokens = decoding_tokens(1, 32, 32);
  for (Spec* spec : {&cached, &tokens}) {
    spec->shape.heads = spec->shape.kv_heads;
    spec->bool_mask = MaskMeaning::keep;
  }
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    cached.seed = tokens.seed = seed;
    check_heads(cached);
    check_tokens(tokens);
  }
}

TEST_CASE("multi-head items: normalised and rotated queries") {
  Spec spec = decoding();
  spec.qk_norm = 1e-6f;
  spec.rope = Rope::half;
  check_heads(spec);
}

TEST_CASE("multi-head items: optional outputs") {
  Spec spec = decoding();
  spec.weights = true;
  spec.weight_sums = WeightSums::per_kv_head;
  spec.state_in = true;
  spec.state_out = true;
  check_heads(spec);
}

TEST_CASE("multi-head items: NaN and infinity in one head stay there") {
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

TEST_CASE("multi-head items over token rows: every number of rows, all dimensions") {
  for (std::int64_t q_len = 1; q_len <= (quick() ? 2 : 5); ++q_len) {
    for (const std::int64_t head_dim : {8, 48, 64}) {
      for (const std::int64_t value_dim : {16, 40, 136}) {
        if (quick() && (head_dim != 48 || value_dim == 16)) continue;
        for (const Layout layout : {Layout::bshd, Layout::packed}) {
          Spec spec = decoding_tokens(q_len, head_dim, value_dim);
          if (layout == Layout::packed) spec.shape.value_dim = head_dim;
          spec.layout = layout;
          check_tokens(spec);
        }
      }
    }
  }
}

TEST_CASE("multi-head items over token rows: one, three and seven rows of a head") {
  for (const std::int64_t rows : {1, 3, 7}) {
    Spec spec = decoding_tokens(1, 32, 48);
    spec.shape.heads = rows * spec.shape.kv_heads;
    check_tokens(spec);
  }
}

TEST_CASE("multi-head items over token rows: windows, lengths and several sequences") {
  for (const std::int64_t window : {20, 256, 300, 700}) {
    Spec spec = decoding_tokens(2, 32, 32);
    spec.mask = causal(783).windowed(window, 0);
    check_tokens(spec);
  }
  Spec spec = decoding_tokens(1, 32, 32);
  spec.shape.batch = 3;
  spec.kv_lens = true;
  check_tokens(spec);
}

TEST_CASE("single-head items when only the keys or only the values of heads are adjacent") {
  std::vector<float> storage;
  Problem keys(decoding_tokens(1, 32, 32)), values(decoding_tokens(1, 32, 32));
  keys.v = with_gaps_between_heads(keys.v, storage);
  check_tokens(keys);
  storage.clear();
  values.k = with_gaps_between_heads(values.k, storage);
  check_tokens(values);
}

TEST_CASE("multi-head items over token rows: score options and optional outputs") {
  Spec spec = decoding_tokens(2, 32, 32);
  spec.soft_cap = 3.0f;
  spec.alibi_slope = 0.25f;
  spec.bias = true;
  spec.bool_mask = MaskMeaning::keep;
  spec.sink = 0.5f;
  spec.callback = Callback::bend;
  check_tokens(spec);
  spec = decoding_tokens(2, 32, 32);
  spec.qk_norm = 1e-6f;
  spec.qk_norm_keys = false;
  spec.rope = Rope::half;
  spec.rope_rotate_keys = false;
  check_tokens(spec);
  spec.qk_norm_keys = true;
  check_tokens(spec);
  spec.qk_norm_keys = false;
  spec.rope_rotate_keys = true;
  check_tokens(spec);
  spec = decoding_tokens(2, 32, 32);
  spec.weights = true;
  spec.weight_sums = WeightSums::per_kv_head;
  spec.state_in = true;
  spec.state_out = true;
  check_tokens(spec);
}

TEST_CASE("multi-head items over token rows: NaN and infinity in one head stay there") {
  for (const std::int64_t head : {0, 4, 10}) {
    for (const float poison :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Problem problem(decoding_tokens(1, 32, 32));
      problem.v(0, head, 300, 5) = poison;
      problem.k(0, head, 600, 7) = poison;
      check_tokens(problem);
    }
  }
}

}  // namespace rapt::test
