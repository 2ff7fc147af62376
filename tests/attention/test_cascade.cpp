// Sequences that share their first pages have the bits of sequences with separate pages.
#include "attention/cascade.hpp"
#include "cache/cache_problem.hpp"
#include "rapt/paged.hpp"
#include "rapt/rope.hpp"
#include "support/arena.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kHeads = 4, kDim = 20, kValueDim = 35;

/// Tokens of four streams.
std::vector<StreamTokens> four_streams() {
  std::vector<StreamTokens> streams;
  for (std::uint64_t seed = 30; seed < 34; ++seed) {
    streams.emplace_back(Stream{.tokens = 700, .seed = seed});
  }
  return streams;
}

void append(KvCache& cache, std::int64_t sequence, const StreamTokens& from, std::int64_t count) {
  cache.append(sequence, from.keys(0, count), from.values_of(0, count));
}

/// The contents of each sequence: tokens of stream 0, then of others.
struct Recipe {
  std::int64_t shared, other, others;  // `others` tokens of stream `other`
  std::int64_t queries;
};

constexpr Recipe kRecipes[] = {{700, 1, 30, 1},  {700, 2, 5, 1}, {600, 3, 100, 3}, {600, 1, 1, 8},
                               {512, 1, 0, 2},   {0, 3, 290, 1}, {512, 2, 40, 40}, {300, 2, 9, 1},
                               {300, 3, 200, 1}, {200, 1, 77, 1}};

std::vector<std::int64_t> row_offsets() {
  std::vector<std::int64_t> rows{0};
  for (const Recipe& recipe : kRecipes) rows.push_back(rows.back() + recipe.queries);
  return rows;
}

/// Every sequence with separate pages, or with those of stream 0 shared through forks of forks.
std::vector<std::int64_t> fill(KvCache& cache, const std::vector<StreamTokens>& streams,
                               bool forked) {
  std::vector<std::int64_t> sequences;
  std::int64_t parent = cache.add();
  append(cache, parent, streams[0], 700);
  for (const Recipe& recipe : kRecipes) {
    std::int64_t sequence = 0;
    if (forked) {
      sequence = cache.fork(parent);
      cache.truncate(sequence, recipe.shared);
      if (recipe.shared > 0) parent = cache.fork(sequence);
    } else {
      sequence = cache.add();
      append(cache, sequence, streams[0], recipe.shared);
    }
    append(cache, sequence, streams[static_cast<std::size_t>(recipe.other)], recipe.others);
    sequences.push_back(sequence);
  }
  return sequences;
}

struct CallOutputs {
  std::vector<float> out, lse, m, l, o;

  bool operator==(const CallOutputs& other) const {
    return same_bits(out, other.out) && same_bits(lse, other.lse) && same_bits(m, other.m) &&
           same_bits(l, other.l) && same_bits(o, other.o);
  }
};

CallOutputs attend(const KvCache& cache, const std::vector<std::int64_t>& sequences,
                   AttentionOptions options) {
  const std::vector<std::int64_t> rows = row_offsets();
  const std::int64_t q_rows = rows.back();
  const auto count = static_cast<std::size_t>(q_rows * kHeads);
  const std::vector<float> q = normal_floats(count * kDim, 99);
  const auto unwritten = [&](std::size_t width) {
    return std::vector<float>(count * width, -9.0f);
  };
  CallOutputs got{unwritten(kValueDim), unwritten(1), unwritten(1), unwritten(1),
                  unwritten(kValueDim)};
  options.lse = {got.lse.data(), {1, kHeads, q_rows}};
  options.state_out = {{got.m.data(), {1, kHeads, q_rows}},
                       {got.l.data(), {1, kHeads, q_rows}},
                       {got.o.data(), {1, kHeads, q_rows, kValueDim}}};
  attention({q.data(), {q_rows, kHeads, kDim}}, cache, {.sequences = sequences, .rows = rows},
            {got.out.data(), {q_rows, kHeads, kValueDim}}, options);
  return got;
}

/// Sequences of 64-key pages at made-up addresses, the first `shared` of which are the same.
struct Made {
  struct Line {
    std::int64_t q_len, kv_len, shared, visible_begin = -kernels::kUnlimited;
  };

  explicit Made(const std::vector<Line>& lines, std::int64_t heads = 1,
                std::int64_t stream_rows = 6) {
    tables.reserve(lines.size());
    std::int64_t row = 0, other = 1000;
    for (const Line& line : lines) {
      std::vector<const void*>& table = tables.emplace_back();
      for (std::int64_t p = 0; p * 64 < line.kv_len; ++p) {
        table.push_back(memory.data() + (p * 64 < line.shared ? p : other++));
      }
      sequences.plan.push_back({line.q_len,
                                {.kv_len = line.kv_len,
                                 .begin = line.visible_begin,
                                 .end = line.kv_len - line.q_len + 1}});
      sequences.places.push_back({.q_row = row, .k_pages = table.data(), .v_pages = table.data()});
      row += line.q_len;
    }
    found = find_cascade({.keys = 64, .packed = true}, sequences, heads, stream_rows, cascade);
  }

  std::vector<float> memory = std::vector<float>(4000);
  std::vector<std::vector<const void*>> tables;
  Sequences sequences;
  Cascade cascade;
  bool found = false;
};

}  // namespace

TEST_CASE("forks in one call have the bits of sequences that share no pages") {
  std::vector<StreamTokens> streams = four_streams();
  const RopeTable table(Rope::half, {.rotary_dims = 10, .positions = 2000});
  const std::vector<float> sinks{0.5f, -1.0f, 2.0f, 0.0f}, slopes{0.5f, 0.25f, 0.125f, 0.0f};
  AttentionOptions rotated{.mask = causal(), .softmax_scale = 2.0f};
  rotated.rope.table = table;
  rotated.rope.rotate_keys = false;
  const std::int64_t q_rows = row_offsets().back();
  const auto count = static_cast<std::size_t>(q_rows * kHeads);
  const std::vector<float> m = normal_floats(count, 60), l(count, 3.0f);
  const std::vector<float> o = normal_floats(count * kValueDim, 61);
  AttentionOptions going_on{.mask = causal()};
  going_on.state_in = {{m.data(), {1, kHeads, q_rows}},
                       {l.data(), {1, kHeads, q_rows}},
                       {o.data(), {1, kHeads, q_rows, kValueDim}}};
  constexpr std::int64_t kLongest = 730;
  const std::vector<float> bias = normal_floats(static_cast<std::size_t>(q_rows * kLongest), 62);
  AttentionOptions biased{.mask = causal()};
  biased.bias = {bias.data(), {1, 1, q_rows, kLongest}};
  const std::vector<AttentionOptions> all{
      {.mask = causal()},
      {.mask = causal(), .soft_cap = 20.0f, .sinks = sinks},
      rotated,
      {.mask = causal().windowed(650, kNoWindow)},
      {.mask = causal().with_prefix(300)},
      {.mask = causal().windowed(650, 40).with_prefix(900)},
      {.mask = causal(), .alibi_slopes = slopes},
      going_on,
      biased,
  };
  for (const bool poisoned : {false, true}) {
    if (poisoned) {
      streams[0].v[static_cast<std::size_t>(100 * kValueDim + 2)] =
          std::numeric_limits<float>::quiet_NaN();
      streams[0].k[static_cast<std::size_t>(310 * kDim)] = std::numeric_limits<float>::infinity();
    }
    for (const AttentionOptions& options : all) {
      KvCache own(config_of(streams[0].stream)), shared(config_of(streams[0].stream));
      const std::vector<std::int64_t> apart = fill(own, streams, false);
      const std::vector<std::int64_t> forks = fill(shared, streams, true);
      REQUIRE(shared.usage().pages_used < own.usage().pages_used / 2);
      const CallOutputs want = attend(own, apart, options);
      for (const Isa isa : available_isas()) {
        CAPTURE(isa_name(isa));
        const ForcedIsa forced(isa);
        for (const int threads : {1, 2, 7}) {
          CHECK(in_arena(threads, [&] { return attend(shared, forks, options); }) == want);
        }
      }
    }
  }
}

TEST_CASE("sequences that share the caller's pages have the bits of sequences that share none") {
  constexpr std::int64_t kPageSize = 48;  // 16 pages are 3 key blocks
  constexpr std::int64_t kPages = 40;
  const std::vector<float> k = normal_floats(kPages * kPageSize * 2 * kDim, 5);
  const std::vector<float> v = normal_floats(kPages * kPageSize * 2 * kValueDim, 6);
  const std::vector<float> q = normal_floats(4 * kHeads * kDim, 7);
  std::vector<std::int32_t> table;
  for (std::int32_t s = 0; s < 3; ++s) {
    for (std::int32_t p = 0; p < 20; ++p) table.push_back(p < 17 ? p : 17 + 3 * s + p % 3);
  }
  const std::vector<std::int64_t> lens{950, 900, 960}, rows{0, 1, 3, 4};
  PagedKeyValues pages{.k = {k.data(), {kPages, kPageSize, 2, kDim}},
                       .v = {v.data(), {kPages, kPageSize, 2, kValueDim}},
                       .table = TensorView<const std::int32_t, 2>(table.data(), {3, 20})};
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    for (const int threads : {1, 2}) {
      std::vector<float> want(4 * kHeads * kValueDim), got(want.size());
      for (std::size_t s = 0; s < 3; ++s) {  // each in its own call
        const std::int64_t own[] = {0, rows[s + 1] - rows[s]};
        PagedKeyValues alone = pages;
        alone.table.narrow = pages.table.narrow.sliced(0, static_cast<std::int64_t>(s), 1);
        alone.kv_lens = {&lens[s], 1};
        attention({q.data() + rows[s] * kHeads * kDim, {own[1], kHeads, kDim}}, alone, own,
                  {want.data() + rows[s] * kHeads * kValueDim, {own[1], kHeads, kValueDim}},
                  {.mask = causal_bottom_right()});
      }
      pages.kv_lens = lens;
      in_arena(threads, [&] {
        attention({q.data(), {4, kHeads, kDim}}, pages, rows, {got.data(), {4, kHeads, kValueDim}},
                  {.mask = causal_bottom_right()});
      });
      CHECK(same_bits(got, want));
    }
  }
}

TEST_CASE("pages that share keys but not values form no group") {
  constexpr std::int64_t kPages = 20, kPageSize = 64, kLength = 600;
  const std::vector<float> q = normal_floats(3 * kHeads * kDim, 41);
  const std::vector<float> k = normal_floats(kPageSize * 2 * kDim, 42);  // the same in every page
  const std::vector<float> v = normal_floats(kPages * kPageSize * 2 * kValueDim, 43);
  std::vector<std::int32_t> table;
  for (std::int32_t s = 0; s < 3; ++s) {
    for (std::int32_t p = 0; p < 10; ++p) table.push_back((7 * s + p) % kPages);
  }
  const std::vector<std::int64_t> lens(3, kLength), rows{0, 1, 2, 3};
  PagedKeyValues pages{.k = {k.data(), {kPages, kPageSize, 2, kDim}, {0, 2 * kDim, kDim, 1}},
                       .v = {v.data(), {kPages, kPageSize, 2, kValueDim}},
                       .table = TensorView<const std::int32_t, 2>(table.data(), {3, 10})};
  std::vector<float> want(3 * kHeads * kValueDim), got(want.size());
  const std::int64_t own[] = {0, 1};
  for (std::int64_t s = 0; s < 3; ++s) {  // each in its own call
    PagedKeyValues alone = pages;
    alone.table.narrow = pages.table.narrow.sliced(0, s, 1);
    alone.kv_lens = {&lens[0], 1};
    attention({q.data() + s * kHeads * kDim, {1, kHeads, kDim}}, alone, own,
              {want.data() + s * kHeads * kValueDim, {1, kHeads, kValueDim}}, {});
  }
  pages.kv_lens = lens;
  attention({q.data(), {3, kHeads, kDim}}, pages, rows, {got.data(), {3, kHeads, kValueDim}}, {});
  CHECK(same_bits(got, want));
}

TEST_CASE("sequences with the same pages form a group over whole key blocks") {
  const Made two({{1, 700, 600}, {3, 650, 600}, {1, 700, 0}});
  REQUIRE(two.found);
  REQUIRE(two.cascade.prefixes.plan.size() == 1);
  CHECK(two.cascade.prefixes.plan[0].q_len == 4);
  CHECK(two.cascade.prefixes.plan[0].visible.kv_len == 512);  // 600 are 2 blocks and more
  REQUIRE(two.cascade.suffixes.plan.size() == 3);
  CHECK(two.cascade.suffixes.plan[1].visible.first_key == 512);
  CHECK(two.cascade.suffixes.plan[1].visible.kv_len == 650);
  CHECK(two.cascade.suffixes.places[1].continues);
  CHECK(two.cascade.suffixes.plan[2].visible.kv_len == 700);
  CHECK_FALSE(two.cascade.suffixes.places[2].continues);
}

TEST_CASE("a sequence joins a group only if that saves reads") {
  // The first two share 2048 keys, with the third only 256: 2048 saved reads, or 512.
  const Made pair({{1, 2100, 2048}, {1, 2100, 2048}, {1, 2100, 256}});
  REQUIRE(pair.cascade.prefixes.plan.size() == 1);
  CHECK(pair.cascade.prefixes.plan[0].q_len == 2);
  CHECK(pair.cascade.prefixes.plan[0].visible.kv_len == 2048);
  const Made three({{1, 2100, 512}, {1, 2100, 512}, {1, 2100, 300}});
  REQUIRE(three.cascade.prefixes.plan.size() == 1);
  CHECK(three.cascade.prefixes.plan[0].q_len == 3);
  CHECK(three.cascade.prefixes.plan[0].visible.kv_len == 256);
}

TEST_CASE("sequences not adjacent in the call form a group, and only its rows get states") {
  const Made made({{1, 700, 600}, {40, 700, 600}, {1, 700, 0}, {2, 700, 600}});
  REQUIRE(made.found);
  REQUIRE(made.cascade.prefixes.plan.size() == 1);
  CHECK(made.cascade.prefixes.plan[0].q_len == 3);
  CHECK(made.cascade.rows == std::vector<std::int64_t>{0, 42, 43});
  REQUIRE(made.cascade.suffixes.plan.size() == 4);
  CHECK(made.cascade.suffixes.places[0].state_shift == 0);
  CHECK(made.cascade.suffixes.places[3].q_row + made.cascade.suffixes.places[3].state_shift == 1);
  for (const std::size_t s : {0, 3}) {
    CHECK(made.cascade.suffixes.plan[s].visible.first_key == 512);
    CHECK(made.cascade.suffixes.plan[s].visible.kv_len == 700);
    CHECK(made.cascade.suffixes.places[s].continues);
  }
  for (const std::size_t s : {1, 2}) {
    CHECK(made.cascade.suffixes.plan[s].visible.kv_len == 700);
    CHECK_FALSE(made.cascade.suffixes.places[s].continues);
  }
}

TEST_CASE("a pair that would leave the decode path forms no group, three sequences do") {
  CHECK(Made({{1, 700, 600}, {1, 700, 600}}, 3).found);
  CHECK_FALSE(Made({{1, 700, 600}, {1, 700, 600}}, 4).found);
  CHECK_FALSE(Made({{1, 700, 600}, {1, 700, 600}}, 6).found);
  CHECK(Made({{1, 700, 600}, {1, 700, 600}}, 7).found);
  CHECK(Made({{1, 700, 600}, {1, 700, 600}}, 4, 8).found);
  CHECK_FALSE(Made({{1, 700, 600}, {1, 700, 600}}, 8, 8).found);
  CHECK(Made({{1, 700, 600}, {1, 700, 600}, {1, 700, 600}}, 4).found);
}

TEST_CASE("keys that a query sees in part, or that many queries share, form no cascade") {
  CHECK_FALSE(Made({{1, 700, 192}, {1, 700, 192}}).found);      // less than a block
  CHECK_FALSE(Made({{1, 700, 600, 10}, {1, 700, 600}}).found);  // a window starts in it
  CHECK_FALSE(Made({{3, 700, 600, -1}, {1, 700, 600}}).found);  // for the last query
  CHECK(Made({{3, 700, 600, -2}, {1, 700, 600}}).found);
  CHECK_FALSE(Made({{9, 700, 600}, {9, 700, 600}}).found);   // reading the pages alone pays off
  CHECK_FALSE(Made({{8, 260, 256}, {8, 260, 256}}).found);   // causal: 253 keys of the first
  CHECK_FALSE(Made({{0, 700, 600}, {1, 700, 600}}).found);   // no query
  CHECK_FALSE(Made({{1, -900, 600}, {1, 700, 600}}).found);  // a query before key 0
}

}  // namespace rapt::test
