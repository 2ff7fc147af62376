// A row's bits depend only on its own query, keys, values and masks: not on the batch, the other
// queries, the layout, or anything hidden.
#include "rapt/attention.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Spec medium_spec() {
  Spec spec;
  spec.shape = {.batch = 2,
                .heads = 4,
                .kv_heads = 2,
                .q_len = quick() ? 9 : 40,
                .kv_len = quick() ? 270 : 530,
                .head_dim = 20,
                .value_dim = 35};
  spec.lse = true;
  spec.weights = true;
  return spec;
}

/// All options that change scores and sums by position or head.
void add_score_options(Spec& spec) {
  spec.mask = spec.mask.windowed(100, 40);
  spec.soft_cap = 20.0f;
  spec.alibi_slope = 0.125f;
  spec.sink = 0.5f;
}

/// Compares row (b, h, i) of x with row (c, h, j) of y in every output, bit for bit; weights over
/// the keys that both have.
bool same_row(const Outputs& x, std::int64_t b, std::int64_t i, const Outputs& y, std::int64_t c,
              std::int64_t j, std::int64_t h) {
  const auto bytes = [](std::int64_t floats) {
    return static_cast<std::size_t>(floats) * sizeof(float);
  };
  const std::int64_t keys = std::min(x.weights.shape[3], y.weights.shape[3]);
  return std::memcmp(&x.out(b, h, i, 0), &y.out(c, h, j, 0), bytes(x.out.shape[3])) == 0 &&
         std::memcmp(&x.lse(b, h, i), &y.lse(c, h, j), bytes(1)) == 0 &&
         std::memcmp(&x.weights(b, h, i, 0), &y.weights(c, h, j, 0), bytes(keys)) == 0;
}

bool is_nan_row(const Outputs& x, std::int64_t b, std::int64_t h, std::int64_t i) {
  for (std::int64_t d = 0; d < x.out.shape[3]; ++d) {
    if (std::bit_cast<std::uint32_t>(x.out(b, h, i, d)) != 0x7fc00000u) return false;
  }
  return true;
}

/// Calls `check(h, i)` for every head and query.
template <class Check>
void for_rows(const Spec& spec, Check check) {
  for (std::int64_t h = 0; h < spec.shape.heads; ++h) {
    for (std::int64_t i = 0; i < spec.shape.q_len; ++i) check(h, i);
  }
}

/// Computes each sequence of a ragged batch alone, with its own keys only.
void check_alone(const Spec& spec) {
  const Problem batch(spec);
  const Outputs whole = run(attention, batch);
  for (std::int64_t b = 0; b < spec.shape.batch; ++b) {
    const std::int64_t keys = batch.kv_lens[static_cast<std::size_t>(b)];
    Spec one = spec;
    one.shape.batch = 1;
    one.shape.kv_len = keys;
    Outputs alone(one);
    AttentionOptions options = batch.options;
    options.kv_lens = {};
    options.bias = batch.options.bias.sliced(0, b, 1).sliced(3, 0, keys);
    options.lse = alone.lse;
    options.weights = alone.weights;
    attention(batch.q.sliced(0, b, 1), batch.k.sliced(0, b, 1).sliced(2, 0, keys),
              batch.v.sliced(0, b, 1).sliced(2, 0, keys), alone.out, options);
    for_rows(spec,
             [&](std::int64_t h, std::int64_t i) { CHECK(same_row(whole, b, i, alone, 0, i, h)); });
  }
}

/// Computes the queries in several calls of some queries each.
void check_chunks(const Spec& spec) {
  const Problem problem(spec);
  const Outputs whole = run(attention, problem);
  for (const std::int64_t chunk : {1, 3, 7, 16}) {
    CAPTURE(chunk);
    Outputs parts(spec);
    for (std::int64_t i = 0; i < spec.shape.q_len; i += chunk) {
      const std::int64_t count = std::min(chunk, spec.shape.q_len - i);
      AttentionOptions options = problem.options;
      options.mask.query_offset += i;
      options.lse = TensorView<float, 3>(parts.lse).sliced(2, i, count);
      options.weights = parts.weights.sliced(2, i, count);
      attention(problem.q.sliced(2, i, count), problem.k, problem.v, parts.out.sliced(2, i, count),
                options);
    }
    CHECK(same_bits(parts, whole));
  }
}

}  // namespace

TEST_CASE("a sequence alone gives the bits that it has inside a ragged batch") {
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    Spec spec = medium_spec();
    spec.shape.batch = 4;
    spec.kv_lens = true;
    spec.mask = causal_bottom_right();
    spec.bias = true;
    check_alone(spec);
    add_score_options(spec);
    check_alone(spec);
  }
}

TEST_CASE("queries in chunks of any length have the bits of all queries in one call") {
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    Spec spec = medium_spec();
    spec.mask = causal(spec.shape.kv_len - spec.shape.q_len);
    check_chunks(spec);
    add_score_options(spec);
    check_chunks(spec);
    spec.mask.kind = Mask::Kind::none;
    check_chunks(spec);
  }
}

TEST_CASE("appending keys that no row sees changes no bit") {
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    Spec spec = medium_spec();
    spec.mask = causal(spec.shape.kv_len / 2);
    const Problem problem(spec);
    const Outputs longer = run(attention, problem);
    // The last query is at kv_len / 2 + q_len - 1; no query sees a later key.
    for (const std::int64_t spare : {0, 1, 100}) {
      const std::int64_t seen = spec.shape.kv_len / 2 + spec.shape.q_len + spare;
      const std::int64_t keys = std::min(seen, spec.shape.kv_len);
      Spec cut = spec;
      cut.shape.kv_len = keys;
      Outputs shorter(cut);
      AttentionOptions options{.mask = spec.mask};
      options.lse = shorter.lse;
      options.weights = shorter.weights;
      attention(problem.q, problem.k.sliced(2, 0, keys), problem.v.sliced(2, 0, keys), shorter.out,
                options);
      for_rows(spec, [&](std::int64_t h, std::int64_t i) {
        CHECK(same_row(longer, 1, i, shorter, 1, i, h));
      });
    }
  }
}

TEST_CASE("memory layouts change no bit") {
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    Spec spec = medium_spec();
    const Problem dense(spec);
    const Outputs want = run(attention, dense);
    for (const Layout layout : {Layout::bshd, Layout::packed, Layout::padded}) {
      spec.layout = layout;
      const Problem problem(spec);  // the same numbers: the seed is the same
      const Outputs got = run(attention, problem);
      for_rows(spec,
               [&](std::int64_t h, std::int64_t i) { CHECK(same_row(got, 0, i, want, 0, i, h)); });
    }
  }
}

TEST_CASE("NaN and infinity in keys that every row masks change no bit") {
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    for (const float poison : {kNaN, kInfinity, -kInfinity}) {
      CAPTURE(poison);
      for (int kind = 0; kind < 5; ++kind) {  // length, causal, boolean mask, bias, window
        CAPTURE(kind);
        Spec spec = medium_spec();
        spec.kv_lens = kind == 0;
        if (kind == 1) spec.mask = causal(100);
        if (kind == 2) {
          spec.bool_mask = MaskMeaning::keep;
          spec.bool_mask_broadcast = kOverBatch | kOverHeads | kOverQueries;
        }
        spec.bias = kind == 3;
        if (kind == 4) spec.mask = Mask{.query_offset = 90}.windowed(15, 30);
        spec.bias_broadcast = kOverBatch | kOverHeads | kOverQueries;
        Problem problem(spec);
        const Outputs want = run(attention, problem);
        for (std::int64_t j = 0; j < spec.shape.kv_len; ++j) {
          const bool masked = kind == 0   ? j >= problem.kv_lens[0]
                              : kind == 1 ? j > spec.shape.q_len - 1 + 100
                              : kind == 2 ? !problem.options.bool_mask.values(0, 0, 0, j)
                              : kind == 3 ? problem.bias(0, 0, 0, j) == -kInfinity
                                          : j < 90 - 15 || j > spec.shape.q_len - 1 + 90 + 30;
          if (!masked) continue;
          for (std::int64_t h = 0; h < spec.shape.kv_heads; ++h) {
            for (std::int64_t d = 0; d < spec.shape.head_dim; ++d) problem.k(0, h, j, d) = poison;
            for (std::int64_t d = 0; d < spec.shape.value_dim; ++d) problem.v(0, h, j, d) = poison;
          }
        }
        CHECK(same_bits(run(attention, problem), want));
      }
    }
  }
}

TEST_CASE("a NaN in a key or value makes exactly those rows NaN that see it") {
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    for (int kind = 0; kind < 3; ++kind) {  // key, value, query
      CAPTURE(kind);
      Spec spec = medium_spec();
      spec.mask = causal(256);
      Problem problem(spec);
      const Outputs clean = run(attention, problem);
      const std::int64_t at = 5;
      for (std::int64_t d = 0; d < spec.shape.value_dim; ++d) {
        if (kind == 1) problem.v(1, 0, 256 + at, d) = kNaN;
      }
      if (kind == 0) problem.k(1, 0, 256 + at, 3) = kNaN;
      if (kind == 2) problem.q(1, 0, at, 3) = kNaN;
      const Outputs got = run(attention, problem);
      for_rows(spec, [&](std::int64_t h, std::int64_t i) {
        // Heads 0 and 1 share kv head 0, whose key 261 is visible from query 5 on.
        const bool poisoned = kind == 2 ? h == 0 && i == at : h < 2 && i >= at;
        CAPTURE(h);
        CAPTURE(i);
        CHECK(is_nan_row(got, 1, h, i) == poisoned);
        CHECK(std::isnan(got.lse(1, h, i)) == (poisoned && kind != 1));
        if (!poisoned) CHECK(same_row(got, 1, i, clean, 1, i, h));
        CHECK(same_row(got, 0, i, clean, 0, i, h));
      });
    }
  }
}

TEST_CASE("a bias of -FLT_MAX is an ordinary value: keys that all have it share the weight") {
  constexpr float kLowest = std::numeric_limits<float>::lowest();
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    Spec spec = medium_spec();
    spec.shape.kv_len = 256;
    spec.bias = true;
    Problem problem(spec);
    std::fill(problem.bias_storage.begin(), problem.bias_storage.end(), kLowest);
    const Outputs got = run(attention, problem);
    for_rows(spec, [&](std::int64_t h, std::int64_t i) {
      CHECK(got.weights(0, h, i, 0) == 1.0f / 256.0f);
      CHECK(got.weights(0, h, i, 255) == 1.0f / 256.0f);
      CHECK(got.lse(0, h, i) == kLowest);
    });
  }
}

}  // namespace rapt::test
