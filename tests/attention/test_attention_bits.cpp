// attention() on every ISA against the scalar statement, bit for bit: sizes around every lane, tile
// and block, and numbers at the limits of f32.
#include "dispatch/dispatch.hpp"
#include "rapt/attention.hpp"
#include "support/check_every_isa.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

/// Sizes around the lanes, the register tiles of every ISA, and one and two key blocks.
std::vector<std::int64_t> interesting_lengths() {
  std::vector<std::int64_t> lengths{1, 15, 16, 17, 31, 33, 255, 256, 257, 300, 600};
  for (const Isa isa : available_isas()) {
    const std::int64_t rows = dispatch::kernels_of(isa).tiles.rows;
    for (const std::int64_t length : {rows - 1, rows, rows + 1}) lengths.push_back(length);
  }
  return lengths;
}

}  // namespace

TEST_CASE("every ISA gives the bits of the scalar statement for every pair of lengths") {
  const std::vector<std::int64_t> lengths = interesting_lengths();
  std::uint64_t seed = 5000;
  for (const std::int64_t q_len : lengths) {
    for (const std::int64_t kv_len : lengths) {
      if (quick() && (q_len * kv_len > 20'000 || seed % 2 == 0)) {
        ++seed;
        continue;
      }
      Spec spec;
      spec.shape = {.q_len = q_len, .kv_len = kv_len, .head_dim = 4, .value_dim = 3};
      spec.lse = true;
      spec.seed = seed++;
      if (seed % 2 == 0) spec.mask = causal_bottom_right();
      if (seed % 3 == 0) spec.mask = spec.mask.windowed(kv_len / 3, q_len / 2);
      check_every_isa(spec);
    }
  }
}

TEST_CASE("every ISA gives the bits of the scalar statement for calls of a few rows and keys") {
  std::uint64_t seed = 5400;
  for (const std::int64_t dim : {1, 31, 32, 33, 64, 85, 128, 129, 256, 257}) {
    for (const std::int64_t kv_len : {1, 2, 3, 7, 8, 9}) {
      for (const std::int64_t q_len : {1, 2, 4, 5, 8, 16, 17}) {
        Spec spec;
        spec.shape = {.q_len = q_len,
                      .kv_len = kv_len,
                      .head_dim = dim,
                      .value_dim = seed % 3 == 0 ? 258 - dim : dim};
        spec.lse = true;
        spec.seed = seed++;
        if (seed % 2 == 0) spec.mask = causal_bottom_right();
        check_every_isa(spec);
      }
    }
  }
}

TEST_CASE("every ISA gives the bits of the scalar statement for every head and value dim") {
  for (const std::int64_t dim : {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 80, 96, 128}) {
    for (const std::int64_t value_dim : {std::int64_t{1}, dim, 129 - dim}) {
      Spec spec;
      spec.shape = {.heads = 2,
                    .q_len = 7,
                    .kv_len = quick() ? 19 : 270,
                    .head_dim = dim,
                    .value_dim = value_dim};
      spec.weights = true;
      spec.seed = static_cast<std::uint64_t>(100 + dim);
      check_every_isa(spec);
    }
  }
  for (const std::int64_t dim : {255, 256, 257, 300, 512, 513}) {  // around the chunks of q
    Spec spec;
    spec.shape = {.q_len = 5, .kv_len = 40, .head_dim = dim, .value_dim = dim};
    check_every_isa(spec);
  }
}

TEST_CASE("every ISA gives the bits of the scalar statement for NaN, infinities and overflow") {
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kDenorm = std::numeric_limits<float>::denorm_min();
  const float special[] = {std::numeric_limits<float>::quiet_NaN(),
                           std::bit_cast<float>(0xffc12345u),  // a NaN with a sign and a payload
                           kInfinity,
                           -kInfinity,
                           kMax,
                           -kMax,
                           kDenorm,
                           -kDenorm,
                           1e30f,
                           -1e30f,
                           0.0f,
                           -0.0f};
  for (std::uint64_t seed = 0; seed < (quick() ? 10u : 100u); ++seed) {
    Random random(seed);
    Spec spec;
    spec.shape = {.q_len = 14, .kv_len = 1 + random.below(700), .head_dim = 5, .value_dim = 18};
    if (seed % 2 == 0) spec.mask = causal(random.below(300));
    if (seed % 3 == 0) spec.bool_mask = MaskMeaning::drop;
    spec.bias = seed % 5 == 0;
    if (seed % 7 == 1) spec.mask = spec.mask.windowed(random.below(300), random.below(300));
    if (seed % 7 == 2) spec.soft_cap = 7.0f;
    if (seed % 7 == 3) spec.alibi_slope = 0.25f;
    if (seed % 7 == 4) spec.sink = 1.0f;
    if (seed % 7 >= 5) spec.callback = seed % 7 == 5 ? Callback::bend : Callback::poison;
    spec.lse = true;
    spec.weights = true;
    spec.weight_sums = seed % 2 == 0 ? WeightSums::per_head : WeightSums::none;
    spec.state_in = seed % 3 == 1;
    spec.state_out = seed % 4 == 1;
    spec.seed = seed;
    Problem problem(spec);
    // From one special value in all tensors to one in ten elements.
    for (std::vector<float>* storage :
         {&problem.q_storage, &problem.k_storage, &problem.v_storage, &problem.bias_storage}) {
      const auto size = static_cast<std::int64_t>(storage->size());
      const std::int64_t count = seed % 4 == 0 ? size / 10 : static_cast<std::int64_t>(seed % 4);
      for (std::int64_t n = 0; size > 0 && n < count; ++n) {
        (*storage)[static_cast<std::size_t>(random.below(size))] =
            special[static_cast<std::size_t>(random.below(std::ssize(special)))];
      }
    }
    check_every_isa(problem);
  }
}

TEST_CASE("short calls have the scalar statement's bits with every option, NaN and infinity") {
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  Random random(77);
  for (std::uint64_t seed = 0; seed < (quick() ? 150u : 1500u); ++seed) {
    Spec spec;
    spec.shape = {.batch = 2,
                  .heads = 2,
                  .kv_heads = 1 + random.below(2),
                  .q_len = 1 + random.below(9),
                  .kv_len = random.below(10),
                  .head_dim = 1 + random.below(34),
                  .value_dim = 1 + random.below(34)};
    if (seed % 2 == 0) spec.mask = causal(random.below(8) - 3);
    if (seed % 3 == 0) spec.mask = spec.mask.windowed(random.below(4), random.below(4));
    spec.kv_lens = seed % 5 == 0;
    spec.lse = seed % 2 == 1;
    if (seed % 7 == 1) spec.sink = 0.5f;
    spec.weight_sums = seed % 7 == 2 ? WeightSums::per_head : WeightSums::none;
    if (seed % 11 == 1) spec.qk_norm = 1e-5f;
    if (seed % 11 == 2) spec.bool_mask = MaskMeaning::keep;
    if (seed % 11 == 3) spec.soft_cap = 2.0f;
    spec.state_out = seed % 11 == 4;
    spec.state_in = seed % 11 == 5;
    spec.bias = seed % 11 == 6;
    spec.seed = seed;
    Problem problem(spec);
    for (std::vector<float>* storage :
         {&problem.q_storage, &problem.k_storage, &problem.v_storage}) {
      if (seed % 4 != 3 || storage->empty()) continue;
      (*storage)[static_cast<std::size_t>(random.below(std::ssize(*storage)))] =
          seed % 8 == 3 ? kNone : kInfinite;
    }
    check_every_isa(problem);
  }
}

TEST_CASE("a zero in the output and in a state is +0 where a fold underflows to -0") {
  constexpr std::int64_t kDim = 35;
  constexpr std::int64_t kKeys = kernels::kKeyBlock + 1;
  const std::vector<float> q{1.0f};
  // The first block's sum is the smallest negative number; the second block's maximum is larger by
  // about e^2, so that the fold gives -0.
  std::vector<float> k(kKeys, 0.0f);
  k.back() = 2.0f;
  std::vector<float> v(kKeys * kDim, 0.0f);
  std::fill_n(v.begin(), kDim, -std::numeric_limits<float>::denorm_min());
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    std::vector<float> out(kDim, 1.0f);
    attention({q.data(), {1, 1, 1, 1}}, {k.data(), {1, 1, kKeys, 1}},
              {v.data(), {1, 1, kKeys, kDim}}, {out.data(), {1, 1, 1, kDim}});
    CHECK(same_bits(out, std::vector<float>(kDim, 0.0f)));
    std::vector<float> m(1), l(1), o(kDim, 1.0f);
    attention(
        {q.data(), {1, 1, 1, 1}}, {k.data(), {1, 1, kKeys, 1}}, {v.data(), {1, 1, kKeys, kDim}},
        {out.data(), {1, 1, 1, kDim}},
        {.state_out = {{m.data(), {1, 1, 1}}, {l.data(), {1, 1, 1}}, {o.data(), {1, 1, 1, kDim}}}});
    CHECK(same_bits(o, std::vector<float>(kDim, 0.0f)));
  }
}

TEST_CASE("scores are correct for any number of rows when value_dim is 0") {
  for (const std::int64_t q_len : {1, 2, 5, 13}) {
    for (const std::int64_t kv_len : {17, 64, 300}) {
      Spec spec;
      spec.shape = {.q_len = q_len, .kv_len = kv_len, .head_dim = 32, .value_dim = 0};
      spec.lse = true;
      spec.weights = true;
      check_every_isa(spec);
    }
  }
}

TEST_CASE("a NaN score reaches the weights of its row even when value_dim is 0") {
  for (const std::int64_t q_len : {1, 5, 40}) {
    for (const std::int64_t kv_len : {17, 300}) {
      Spec spec;
      spec.shape = {.q_len = q_len, .kv_len = kv_len, .head_dim = 32, .value_dim = 0};
      spec.lse = true;
      spec.weights = true;
      Problem problem(spec);
      problem.q(0, 0, q_len / 2, 3) = std::numeric_limits<float>::quiet_NaN();
      const Outputs want = run(reference::attention, problem);
      for (const Isa isa : available_isas()) {
        const ForcedIsa forced(isa);
        CHECK_MESSAGE(same_bits(run(attention, problem), want), isa_name(isa), ": q_len ", q_len,
                      " kv_len ", kv_len);
      }
    }
  }
}

TEST_CASE("with causal offsets at the limits of int64 a query sees every key or none") {
  constexpr std::int64_t kMaxInt = std::numeric_limits<std::int64_t>::max();
  for (const std::int64_t offset : {kMaxInt, kMaxInt - 1, -kMaxInt, -kMaxInt - 1}) {
    Spec spec;
    spec.shape = {.q_len = 3, .kv_len = 300};
    spec.mask = causal(offset);
    spec.lse = true;
    check_every_isa(spec);
    const Problem problem(spec);
    CHECK(std::isfinite(run(attention, problem).lse(0, 0, 2)) == (offset > 0));
  }
}

TEST_CASE("a dimension of size 0 is valid, and a row without keys gives zeros and lse = -inf") {
  for (int zero = 0; zero < 5; ++zero) {
    Spec spec;
    spec.shape = {.batch = 2, .heads = 2, .kv_heads = 2, .q_len = 5, .kv_len = 7};
    Shape& s = spec.shape;
    std::int64_t* const extents[] = {&s.batch, &s.heads, &s.q_len, &s.kv_len, &s.value_dim};
    *extents[zero] = 0;
    if (s.heads == 0) s.kv_heads = 0;
    spec.lse = true;
    spec.weights = true;
    spec.weight_sums = WeightSums::per_kv_head;
    spec.state_in = true;
    spec.state_out = true;
    check_every_isa(spec);
  }
}

}  // namespace rapt::test
