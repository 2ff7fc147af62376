// The meaning of windows, soft caps, ALiBi and sinks, in cases with a known answer.
#include "rapt/attention.hpp"
#include "support/check_every_isa.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t kMaxInt = std::numeric_limits<std::int64_t>::max();

Spec small_spec() {
  Spec spec;
  spec.shape = {.heads = 2,
                .kv_heads = 1,
                .q_len = quick() ? 20 : 50,
                .kv_len = quick() ? 290 : 560,
                .head_dim = 12,
                .value_dim = 19};
  spec.lse = true;
  spec.weights = true;
  return spec;
}

/// Checks that every ISA gives the same bits for both problems.
void check_same(const Problem& x, const Problem& y) {
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    const bool same = same_bits(run(attention, x), run(attention, y));
    CHECK_MESSAGE(same, isa_name(isa), ": ", describe(x.spec), " and ", describe(y.spec));
  }
}

/// One head, one query of zeros at position `offset`, keys of zeros, values j + 1: every score is 0
/// before the options.
struct Plain {
  explicit Plain(std::int64_t keys) : k(static_cast<std::size_t>(keys), 0.0f) {
    for (std::int64_t j = 0; j < keys; ++j) v.push_back(static_cast<float>(j + 1));
  }

  float out(AttentionOptions options) {
    const std::int64_t keys = std::ssize(k);
    float result = -1.0f;
    weights.assign(k.size(), -1.0f);
    options.lse = {&lse, {1, 1, 1}};
    options.weights = {weights.data(), {1, 1, 1, keys}};
    attention({q.data(), {1, 1, 1, 1}}, {k.data(), {1, 1, keys, 1}}, {v.data(), {1, 1, keys, 1}},
              {&result, {1, 1, 1, 1}}, options);
    return result;
  }

  std::vector<float> q{0.0f}, k, v, weights;
  float lse = 7.0f;
};

}  // namespace

TEST_CASE("a window has the bits of the boolean mask that keeps the same keys") {
  struct Window {
    std::int64_t left, right;
  };
  for (const auto& [left, right] : {Window{0, 0}, Window{17, 4}, Window{kNoWindow, 2},
                                    Window{300, kNoWindow}, Window{kMaxInt, kMaxInt}}) {
    for (const std::int64_t offset : {-30, 0, 200, 255, 700}) {
      for (const bool is_causal : {false, true}) {
        Spec spec = small_spec();
        spec.mask = Mask{.query_offset = offset}.windowed(left, right);
        if (is_causal) spec.mask.kind = Mask::Kind::causal;
        const Problem windowed(spec);
        Spec masked_spec = small_spec();
        masked_spec.bool_mask = MaskMeaning::keep;
        masked_spec.bool_mask_broadcast = kOverHeads;
        Problem masked(masked_spec);
        const std::int64_t keys = spec.shape.kv_len;
        for (std::int64_t n = 0; n < spec.shape.q_len * keys; ++n) {
          const std::int64_t ahead = n % keys - (n / keys + offset);  // of the key, from the query
          const bool keep = (left == kNoWindow || -ahead <= left) &&
                            (right == kNoWindow || ahead <= right) && !(is_causal && ahead > 0);
          masked.mask_storage[static_cast<std::size_t>(n)] = keep ? 1 : 0;
        }
        check_same(windowed, masked);
      }
    }
  }
}

TEST_CASE("windows and offsets at the limits of int64 show the keys that the formula gives") {
  for (const std::int64_t offset :
       {kMaxInt, std::int64_t{1} << 60, std::int64_t{100}, -kMaxInt - 1}) {
    for (const std::int64_t left : {kNoWindow, std::int64_t{0}, std::int64_t{1} << 59, kMaxInt}) {
      for (const std::int64_t right :
           {kNoWindow, std::int64_t{0}, std::int64_t{1} << 59, kMaxInt}) {
        Spec spec = small_spec();
        spec.shape.q_len = 3;
        spec.mask = Mask{.query_offset = offset}.windowed(left, right);
        check_every_isa(spec);
        spec.alibi_slope = 0x1p-60f;
        spec.mask.kind = Mask::Kind::causal;
        check_every_isa(spec);
      }
    }
  }
}

TEST_CASE("ALiBi distances are rounded once when they are too large to be exact floats") {
  constexpr std::int64_t kOdd = std::int64_t{1} << 24;  // from here on floats are even
  for (const std::int64_t sign : {1, -1}) {
    for (const std::int64_t beyond : {-700, -256, -255, 0, 1, 3, 256, 300, 555}) {
      Spec spec = small_spec();
      spec.shape.kv_len = 300;
      spec.mask = {.query_offset = sign * (kOdd + beyond)};
      spec.alibi_slope = 0.5f;
      check_every_isa(spec);
    }
  }
}

TEST_CASE("an option that has no effect on the scores changes no bit") {
  const Problem plain(small_spec());
  Spec spec = small_spec();
  spec.alibi_slope = 0.0f;
  check_same(plain, Problem(spec));
  spec = small_spec();
  spec.sink = -kInfinity;
  check_same(plain, Problem(spec));
  spec = small_spec();
  spec.mask = spec.mask.windowed(spec.shape.q_len, spec.shape.kv_len);
  check_same(plain, Problem(spec));
}

TEST_CASE("a sink takes its share of the weights and contributes no value") {
  Plain plain(4);
  const std::array<float, 1> sink{std::log(4.0f)};  // equals the four keys of score 0 together
  CHECK(plain.out({.sinks = sink}) == doctest::Approx(2.5 / 2.0));
  CHECK(plain.lse == doctest::Approx(std::log(8.0)));
  for (const float weight : plain.weights) CHECK(weight == doctest::Approx(1.0 / 8.0));
}

TEST_CASE("a row without visible keys gives zeros, and with a sink the sink's score as lse") {
  Plain plain(4);
  for (const float score : {-3.0f, 0.0f, 2.0f, 80.0f, -kInfinity}) {
    const std::array<float, 1> sink{score};
    CHECK(plain.out({.mask = causal(-1), .sinks = sink}) == 0.0f);
    if (score == -kInfinity) {
      CHECK(plain.lse == score);
    } else {
      CHECK(plain.lse == doctest::Approx(score));
    }
    for (const float weight : plain.weights) CHECK(weight == 0.0f);
  }
}

TEST_CASE("a sink far above every score makes out and weights 0, one far below changes little") {
  Plain plain(4);
  std::array<float, 1> sink{500.0f};
  CHECK(plain.out({.sinks = sink}) == 0.0f);
  CHECK(plain.lse == 500.0f);
  sink[0] = -500.0f;
  CHECK(plain.out({.sinks = sink}) == 2.5f);
  CHECK(plain.weights[3] == 0.25f);
}

TEST_CASE("ALiBi falls with the distance from the query's position on both sides") {
  Plain plain(5);
  const std::array<float, 1> slope{std::log(2.0f)};
  // The offset matters although nothing is masked: weights 1/4, 1/2, 1, 1/2, 1/4 of 2.5.
  plain.out({.mask = {.query_offset = 2}, .alibi_slopes = slope});
  const std::array<double, 5> shares{0.25, 0.5, 1.0, 0.5, 0.25};
  for (std::size_t j = 0; j < 5; ++j) CHECK(plain.weights[j] == doctest::Approx(shares[j] / 2.5));
  // The last query is at the last key.
  plain.out({.mask = {.align = Mask::Align::bottom_right}, .alibi_slopes = slope});
  CHECK(plain.weights[4] / plain.weights[0] == doctest::Approx(16.0));
}

TEST_CASE("a soft cap bounds scores smoothly before a bias is added") {
  Plain plain(2);
  plain.q[0] = 1.0f;
  plain.k = {3.0f, kInfinity};
  const std::array<float, 2> bias{0.0f, -2.0f};
  plain.out({.bias = {bias.data(), {1, 1, 1, 2}}, .soft_cap = 2.0f, .softmax_scale = 1.0f});
  // 2 tanh(3 / 2), and 2 for the infinite score, minus the bias of 2.
  const double ratio = std::exp(2.0 * std::tanh(1.5) - 0.0);
  CHECK(plain.weights[0] / plain.weights[1] == doctest::Approx(ratio));
}

}  // namespace rapt::test
