// RoPE alone and inside attention(): the bits of plain loops on every ISA, and the meaning of
// positions, tables and styles.
#include "rapt/kv_cache.hpp"
#include "rapt/rope.hpp"
#include "reference/rows.hpp"
#include "support/check_every_isa.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kUntouched = 77.0f;

/// Rows of x in a padded buffer, [batch, heads, tokens, head_dim].
struct Rows {
  Rows(std::int64_t batch, std::int64_t heads, std::int64_t tokens, std::int64_t head_dim)
      : x(normal_floats(static_cast<std::size_t>(batch * heads * tokens * (head_dim + 3)), 5)),
        shape{batch, heads, tokens, head_dim},
        strides{heads * tokens * (head_dim + 3), tokens * (head_dim + 3), head_dim + 3, 1} {}

  TensorView<float, 4> view(std::vector<float>& storage) const {
    return {storage.data(), shape, strides};
  }

  std::vector<float> x;
  TensorView<float, 4>::Index shape, strides;
};

/// The expected output of apply_rope(), in the padded buffer.
std::vector<float> plainly_rotated(const Rows& rows, const RopeView& table,
                                   const std::vector<std::int64_t>& positions) {
  std::vector<float> y(rows.x.size(), kUntouched);
  const auto& [batch, heads, tokens, head_dim] = rows.shape;
  for (std::int64_t row = 0; row < batch * heads * tokens; ++row) {
    const std::int64_t at = row * (head_dim + 3);
    const std::int64_t b = row / tokens / heads;
    const std::int64_t position = positions[static_cast<std::size_t>(b * tokens + row % tokens)];
    const std::vector<float> rotated =
        reference::rotated({rows.x.data() + at, rows.x.data() + at + head_dim}, table, position);
    std::copy(rotated.begin(), rotated.end(), y.begin() + at);
  }
  return y;
}

}  // namespace

TEST_CASE("apply_rope has the bits of the plain rotation on every ISA, for every size and style") {
  const std::vector<std::int64_t> positions{4, 0, 9, 9, 1, 3};
  for (const Rope style : {Rope::half, Rope::interleaved}) {
    for (const std::int64_t pairs : {1, 2, 7, 8, 15, 16, 17, 32, 33}) {
      const RopeTable table(style, {.rotary_dims = 2 * pairs, .positions = 10});
      for (const std::int64_t rest : {0, 1, 5}) {
        Rows rows(2, 2, 3, 2 * pairs + rest);
        rows.x[1] = kNaN;
        // At position 0, where sin is 0: -0 cos - 1 sin is -0.
        const auto second = static_cast<std::size_t>(rows.strides[2]);
        rows.x[second] = -0.0f;
        rows.x[second + 1] = 1.0f;
        rows.x[second + static_cast<std::size_t>(pairs)] = 1.0f;
        const std::vector<float> want = plainly_rotated(rows, table, positions);
        for (const Isa isa : available_isas()) {
          const ForcedIsa forced(isa);
          CAPTURE(isa_name(isa));
          CAPTURE(pairs);
          std::vector<float> y(rows.x.size(), kUntouched);
          apply_rope(rows.view(rows.x), rows.view(y), table,
                     TensorView<const std::int64_t, 2>(positions.data(), {2, 3}));
          CHECK(same_bits(y, want));
        }
      }
    }
  }
}

TEST_CASE("apply_rope in place has the bits of apply_rope into another buffer") {
  for (const Rope style : {Rope::half, Rope::interleaved}) {
    const RopeTable table(style, {.rotary_dims = 36, .positions = 700});
    Rows rows(1, 2, 600, 40);
    for (const Isa isa : available_isas()) {
      const ForcedIsa forced(isa);
      std::vector<float> y = rows.x, in_place = rows.x;
      apply_rope(rows.view(rows.x), rows.view(y), table, 99);
      apply_rope(rows.view(in_place), rows.view(in_place), table, 99);
      CHECK(same_bits(y, in_place));
      CHECK(!same_bits(y, rows.x));
    }
  }
}

TEST_CASE("positions of one sequence apply to a whole batch, up to the table's last row") {
  const RopeTable table(Rope::half, {.rotary_dims = 8, .positions = 5});
  Rows rows(2, 2, 3, 10);
  // Positions of a second sequence exist but belong to no call.
  const std::vector<std::int64_t> positions{2, 3, 4, 0, 0, 0}, of_both{2, 3, 4, 2, 3, 4};
  const std::vector<float> want = plainly_rotated(rows, table, of_both);
  std::vector<float> first(rows.x.size(), kUntouched), each(first);
  apply_rope(rows.view(rows.x), rows.view(first), table, 2);
  CHECK(same_bits(first, want));
  apply_rope(rows.view(rows.x), rows.view(each), table,
             TensorView<const std::int64_t, 2>(positions.data(), {1, 3}, {3, 1}));
  CHECK(same_bits(each, want));

  Spec spec;
  spec.shape = {.batch = 2, .q_len = 3, .kv_len = 3};
  spec.rope = Rope::half;
  Problem one(spec), both(spec);
  one.options.rope.q_positions = {positions.data(), {1, 3}, {3, 1}};
  one.options.rope.k_positions = one.options.rope.q_positions;
  both.options.rope.q_positions = {of_both.data(), {2, 3}};
  both.options.rope.k_positions = both.options.rope.q_positions;
  CHECK(same_bits(run(attention, one), run(attention, both)));
}

TEST_CASE("RoPE inside attention has the bits of rotating q and k before the call") {
  for (const Rope style : {Rope::half, Rope::interleaved}) {
    Spec spec;
    spec.shape = {.batch = 2, .heads = 4, .kv_heads = 2, .q_len = 30, .kv_len = 300};
    spec.mask = causal(270);
    spec.rope = style;
    spec.lse = true;
    Problem problem(spec);
    Problem before(spec);
    const RopeView table = problem.options.rope.table;
    apply_rope(before.q, before.q, table, 270);
    apply_rope(before.k, before.k, table);
    before.options.rope = {};
    Problem half_done(spec);
    apply_rope(half_done.k, half_done.k, table);
    half_done.options.rope.rotate_keys = false;
    for (const Isa isa : available_isas()) {
      const ForcedIsa forced(isa);
      const Outputs want = run(attention, problem);
      CHECK(same_bits(run(attention, before), want));
      CHECK(same_bits(run(attention, half_done), want));
    }
  }
}

TEST_CASE("keys cached after rotation have the bits of keys rotated inside attention") {
  Spec spec;
  spec.shape = {.heads = 4, .kv_heads = 2, .q_len = 30, .kv_len = 300};
  spec.mask = causal(270);
  spec.rope = Rope::half;
  const Problem problem(spec);
  Problem rotated(spec);
  apply_rope(rotated.k, rotated.k, problem.options.rope.table);
  const auto rows_of = [](const TensorView<float, 4>& x) {
    return TensorView<float, 3>(x.data, {x.shape[2], x.shape[1], x.shape[3]},
                                {x.strides[2], x.strides[1], x.strides[3]});
  };
  KvCache cache({.kv_heads = 2, .head_dim = 16});
  const std::vector<std::int64_t> sequences{cache.add()}, rows{0, 30};
  cache.append(sequences[0], rows_of(rotated.k), rows_of(rotated.v));
  AttentionOptions options{.mask = causal(), .rope = problem.options.rope};
  Outputs got(spec);
  const auto attend = [&] {
    attention(rows_of(rotated.q), cache, {.sequences = sequences, .rows = rows}, rows_of(got.out),
              options);
  };
  CHECK(sentence_of(attend).find("rope: rotate_keys must be false") == 0);
  options.rope.rotate_keys = false;
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    attend();
    CHECK(same_bits(got, run(attention, problem)));
  }
}

TEST_CASE("a rotation keeps lengths, and scores depend only on the distance of positions") {
  const RopeTable table(Rope::interleaved, {.rotary_dims = 64, .positions = 3000});
  const std::vector<float> q = normal_floats(64, 1);
  const std::vector<float> k = normal_floats(64, 2);
  const auto product = [&](std::int64_t i, std::int64_t j) {
    const auto x = reference::rotated64(reference::row64(q.data(), 64), table, i);
    const auto y = reference::rotated64(reference::row64(k.data(), 64), table, j);
    double sum = 0.0;
    for (std::size_t d = 0; d < 64; ++d) sum += x.value[d] * y.value[d];
    return sum;
  };
  for (const std::int64_t shift : {1, 500, 2000}) {
    // Each of the four table entries is off by at most 2^-25, and its magnitude is at most 1.
    double magnitude = 0.0;
    for (std::size_t d = 0; d < 64; ++d) {
      magnitude += (std::abs(q[d]) + std::abs(q[d ^ 1])) * (std::abs(k[d]) + std::abs(k[d ^ 1]));
    }
    CHECK(std::abs(product(700, 20) - product(700 + shift, 20 + shift)) <= 0x1p-22 * magnitude);
  }
  CHECK(std::abs(product(700, 20) - product(701, 20)) > 1e-3);
}

TEST_CASE("wrong arguments of apply_rope are errors that name them, and nothing is written") {
  const RopeTable table(Rope::half, {.rotary_dims = 8, .positions = 5});
  Rows rows(2, 2, 3, 10);
  std::vector<float> y(rows.x.size(), kUntouched);
  const std::vector<float> before = y;
  const std::vector<std::int64_t> wrong{0, 1, 2, 3, 4, 5};
  const auto check = [&](const char* part, const std::function<void()>& call) {
    const std::string sentence = sentence_of(call);
    CHECK_MESSAGE(sentence.find(part) != std::string::npos, "\"", sentence, "\" lacks ", part);
    CHECK(same_bits(y, before));
  };
  const TensorView<float, 4> x = rows.view(rows.x);
  const TensorView<float, 4> to = rows.view(y);
  check("first_position: 3 with 3 tokens", [&] { apply_rope(x, to, table, 3); });
  check("first_position: 5 with 1 token is not within the table's 5 rows",
        [&] { apply_rope(x.sliced(2, 0, 1), to.sliced(2, 0, 1), table, 5); });
  check("first_position: -1", [&] { apply_rope(x, to, table, -1); });
  check("table: is empty", [&] { apply_rope(x, to, RopeView{}); });
  check("y: tokens 2", [&] { apply_rope(x, to.sliced(2, 0, 2), table); });
  check("pairs 4 is not within", [&] { apply_rope(x.sliced(3, 0, 7), to.sliced(3, 0, 7), table); });
  check("position 5 of sequence 1", [&] {
    apply_rope(x, to, table, TensorView<const std::int64_t, 2>(wrong.data(), {2, 3}));
  });
  check("tokens 2", [&] {
    apply_rope(x, to, table, TensorView<const std::int64_t, 2>(wrong.data(), {2, 2}));
  });
  check("batch 3", [&] {
    apply_rope(x, to, table, TensorView<const std::int64_t, 2>(wrong.data(), {3, 3}));
  });
  check("y: overlaps x", [&] { apply_rope(to.sliced(2, 0, 2), to.sliced(2, 1, 2), table); });
  RopeView bad = table.view();
  bad.sin.shape[0] = 4;
  check("extent 5 of cos and 4 of sin", [&] { apply_rope(x, to, bad); });
  bad = table.view();
  bad.sin = {};
  check("cos and sin are not both given", [&] { apply_rope(x, to, bad); });
}

TEST_CASE("invalid rope options of attention are errors that name them") {
  const auto check = [](const char* part, const std::function<void(Problem&)>& spoil) {
    Spec spec;
    spec.shape = {.batch = 2, .q_len = 3, .kv_len = 5};
    spec.rope = Rope::half;
    Problem problem(spec);
    spoil(problem);
    const std::string sentence = sentence_of([&] { run(attention, problem); });
    CHECK_MESSAGE(sentence.find(part) != std::string::npos, "\"", sentence, "\" lacks ", part);
  };
  check("query position -2 of sequence 0", [](Problem& p) { p.options.mask = causal(-2); });
  check("query position 2000 of sequence 0", [](Problem& p) { p.options.mask = causal(2000); });
  // The last of the three queries.
  check("query position 1008 of sequence 0", [](Problem& p) { p.options.mask = causal(1006); });
  check("key position 4", [](Problem& p) {
    p.options.rope.table.cos.shape[0] = 4;
    p.options.rope.table.sin.shape[0] = 4;
  });
  check("positions mean nothing without a table", [](Problem& p) {
    p.options.rope = {};
    p.options.rope.q_positions = {p.q_positions.data(), {2, 3}};
  });
  check("rotate_keys = false means nothing", [](Problem& p) {
    p.options.rope = {};
    p.options.rope.rotate_keys = false;
  });
  check("k_positions cannot be combined", [](Problem& p) {
    p.options.rope.rotate_keys = false;
    p.options.rope.k_positions = {p.k_positions.data(), {2, 5}};
  });
  check("rope.q_positions: tokens 2", [](Problem& p) {
    p.options.rope.q_positions = {p.q_positions.data(), {2, 2}};
  });
  check("rope: pairs 9 is not within", [](Problem& p) {
    p.options.rope.table.cos.shape[1] = 9;
    p.options.rope.table.sin.shape[1] = 9;
    p.options.rope.table.cos.strides[0] = 0;
    p.options.rope.table.sin.strides[0] = 0;
  });
}

}  // namespace rapt::test
