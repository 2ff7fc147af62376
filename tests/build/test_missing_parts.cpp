// States without keys, and results with an lse of -inf, are ignored whatever their o or out holds;
// a NaN reaches the row.
#include "rapt/attention.hpp"
#include "reference/scalar.hpp"
#include "support/check_every_isa.hpp"
#include "support/on_every_isa.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// States of few and of many rows, whose value_dim is not a multiple of the vector.
Spec spec_of(std::int64_t q_len, std::int64_t kv_len) {
  Spec spec;
  spec.shape = {.batch = 2,
                .heads = 4,
                .kv_heads = 2,
                .q_len = q_len,
                .kv_len = kv_len,
                .head_dim = 16,
                .value_dim = 19};
  spec.lse = true;
  spec.state_in = true;
  spec.state_out = true;
  return spec;
}

/// Calls row(b, h, i) for the rows of a tensor.
template <class Row>
void for_rows(const TensorView<float, 4>& o, const Row& row) {
  for (std::int64_t b = 0; b < o.shape[0]; ++b) {
    for (std::int64_t h = 0; h < o.shape[1]; ++h) {
      for (std::int64_t i = 0; i < o.shape[2]; ++i) row(b, h, i);
    }
  }
}

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

void fill_row(const TensorView<float, 4>& o, std::int64_t b, std::int64_t h, std::int64_t i,
              float value) {
  for (std::int64_t d = 0; d < o.shape[3]; ++d) o(b, h, i, d) = value;
}

/// A random state and result. One row in `one_in`, starting with `first`, has no keys and holds
/// `value`.
Outputs part_of(std::uint64_t seed, std::int64_t one_in, std::int64_t first, float value) {
  Spec spec = spec_of(quick() ? 5 : 13, 40);
  spec.seed = seed;
  spec.state_in = false;
  Outputs part = run(attention, Problem(spec));
  for_rows(part.out, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
    if ((i + h + b) % one_in != first) return;
    part.state.m(b, h, i) = part.lse(b, h, i) = -kInfinity;
    part.state.l(b, h, i) = i % 2 == 0 ? 0.0f : -0.0f;
    fill_row(part.state.o, b, h, i, value);
    fill_row(part.out, b, h, i, value);
  });
  return part;
}

using StatesMerge = void(const AttentionState<const float>&, const AttentionState<const float>&,
                         const AttentionState<float>&);
using ResultsMerge = void(const AttentionResult<const float>&, const AttentionResult<const float>&,
                          const AttentionResult<float>&);

Outputs merged(StatesMerge& states, ResultsMerge& results, const Outputs& x, const Outputs& y) {
  Outputs to(spec_of(x.out.shape[2], 40));
  states(x.state, y.state, to.state);
  results({x.out, x.lse}, {y.out, y.lse}, {to.out, to.lse});
  return to;
}

/// Poisons the rows of the problem's state without keys.
void poison(const Problem& problem, float value) {
  const AttentionState<const float>& state = problem.options.state_in;
  TensorView<float, 4> o(const_cast<float*>(state.o.data), state.o.shape, state.o.strides);
  for_rows(o, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
    if (state.m(b, h, i) == -kInfinity) fill_row(o, b, h, i, value);
  });
}

}  // namespace

TEST_CASE("merge: a state without keys leaves the other one unchanged, whatever its o holds") {
  for (const float value : {kNaN, kInfinity, -kInfinity}) {
    const Outputs x = part_of(1, 3, 0, 0.0f), x_poisoned = part_of(1, 3, 0, value);
    const Outputs y = part_of(2, 2, 1, 0.0f), y_poisoned = part_of(2, 2, 1, value);
    const Outputs want = merged(reference::merge, reference::merge, x, y);
    CHECK(same_bits(merged(reference::merge, reference::merge, x_poisoned, y_poisoned), want));
    on_every_isa({1}, [&] {
      CHECK(same_bits(merged(merge, merge, x_poisoned, y), want));
      CHECK(same_bits(merged(merge, merge, x, y_poisoned), want));
      CHECK(same_bits(merged(merge, merge, x_poisoned, y_poisoned), want));
    });
    // If neither saw a key, the result is empty.
    for_rows(want.out, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
      if ((i + h + b) % 3 != 0 || (i + h + b) % 2 != 1) return;
      CHECK(want.lse(b, h, i) == -kInfinity);
      CHECK(want.state.m(b, h, i) == -kInfinity);
      CHECK(bits(want.state.l(b, h, i)) == bits(0.0f));
      CHECK(bits(want.out(b, h, i, 18)) == bits(0.0f));
      CHECK(bits(want.state.o(b, h, i, 18)) == bits(0.0f));
    });
  }
}

TEST_CASE("continuing from a state without keys changes nothing, whatever its o holds") {
  std::vector<Spec> specs{spec_of(1, 700),  spec_of(2, 3000), spec_of(quick() ? 20 : 70, 300),
                          spec_of(3, 0),    spec_of(9, 1),    spec_of(7, 300),
                          spec_of(17, 270), spec_of(13, 600)};
  specs[4].mask = causal(-4);  // rows without keys of their own
  specs[5].mask = causal(-4);
  specs[5].sink = 0.5f;
  specs[6].bool_mask = MaskMeaning::keep;
  specs[6].weights = true;
  specs[6].weight_sums = WeightSums::per_head;
  specs[7].bias = true;
  for (const Spec& spec : specs) {
    const Outputs want = run(reference::attention, Problem(spec));
    for (const float value : {kNaN, kInfinity, -kInfinity}) {
      const Problem problem(spec);
      poison(problem, value);
      CHECK_MESSAGE(same_bits(run(reference::attention, problem), want), describe(spec));
      on_every_isa(
          {1, 5}, [&] { CHECK_MESSAGE(same_bits(run(attention, problem), want), describe(spec)); });
    }
  }
}

TEST_CASE("merge: a NaN in m, l or lse makes the row NaN, in the same bits on every ISA") {
  struct Ends {
    float m, l, lse;
  };
  for (const Ends& ends : {Ends{-kInfinity, kNaN, kNaN}, Ends{kNaN, 1.0f, kNaN},
                           Ends{kNaN, 0.0f, kNaN}, Ends{0.5f, kNaN, kNaN}}) {
    for (const bool first : {false, true}) {
      Outputs x = part_of(1, 3, 0, 0.0f), y = part_of(2, 3, 1, 0.0f);
      const Outputs& part = first ? x : y;
      for_rows(part.out, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
        part.state.m(b, h, i) = std::copysign(ends.m, -1.0f);
        part.state.l(b, h, i) = std::copysign(ends.l, -1.0f);
        part.lse(b, h, i) = std::copysign(ends.lse, -1.0f);
      });
      const Outputs want = merged(reference::merge, reference::merge, x, y);
      for_rows(want.out, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
        CHECK(bits(want.state.l(b, h, i)) == bits(kNaN));
        CHECK(bits(want.lse(b, h, i)) == bits(kNaN));
        CHECK(bits(want.out(b, h, i, 0)) == bits(kNaN));
      });
      on_every_isa({1}, [&] { CHECK(same_bits(merged(merge, merge, x, y), want)); });
    }
  }
}

}  // namespace rapt::test
