// Attention over a KvCache has the bits of attention over the same keys in one tensor, however the
// keys were appended.
#include "attention/problem.hpp"
#include "cache/cache_problem.hpp"
#include "reference/scalar.hpp"
#include "support/arena.hpp"
#include "support/on_every_isa.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

StreamOutputs cached(const StreamTokens& tokens, const KvCacheConfig& config, std::int64_t chunk,
                     const AttentionOptions& options) {
  KvCache cache(config);
  const std::int64_t sequence = cache.add();
  StreamOutputs outputs(tokens.stream);
  feed(cache, sequence, tokens, 0, tokens.stream.tokens, chunk, options, outputs);
  return outputs;
}

}  // namespace

TEST_CASE("pages of every size, all dimensions and windows have the scalar statement's bits") {
  std::vector<std::int64_t> page_sizes{32, 256};
  if (!quick()) page_sizes = {32, 64, 128, 256};
  const std::vector<Stream> streams{
      {.tokens = 530},
      {.heads = 7, .kv_heads = 1, .tokens = 300, .head_dim = 64, .value_dim = 64, .seed = 2},
      {.heads = 2, .kv_heads = 2, .tokens = 290, .head_dim = 1, .value_dim = 1, .seed = 3}};
  for (const Stream& stream : streams) {
    const StreamTokens tokens(stream);
    for (const AttentionOptions& options :
         {AttentionOptions{.mask = causal()}, AttentionOptions{.mask = causal().windowed(40, 0)}}) {
      const StreamOutputs want = in_one_tensor(reference::attention, tokens, options);
      for (const std::int64_t page_tokens : page_sizes) {
        CAPTURE(page_tokens);
        KvCacheConfig config = config_of(stream);
        config.page_tokens = page_tokens;
        on_every_isa([&] {
          CHECK(cached(tokens, config, quick() ? 101 : 19, options) == want);
          CHECK(cached(tokens, config, stream.tokens, options) == want);
        });
        if (options.mask.window_left == kNoWindow) continue;
        config.window = 40;
        on_every_isa([&] { CHECK(cached(tokens, config, 61, options) == want); });
      }
    }
  }
}

TEST_CASE("long caches are split by keys, and blocks are folded in order") {
  const StreamTokens tokens(
      {.heads = 4, .kv_heads = 1, .tokens = 5000, .head_dim = 32, .value_dim = 32});
  AttentionOptions options{.sinks = {}};
  KvCache cache(config_of(tokens.stream));
  const std::int64_t sequence = cache.add();
  cache.append(sequence, tokens.keys(0, 5000), tokens.values_of(0, 5000));
  StreamOutputs want(tokens.stream);
  options.mask = causal();
  attend_last(cache, sequence, tokens, 4998, 2, options, want);
  const StreamOutputs whole = in_one_tensor(attention, tokens, options);
  for (std::int64_t i = 4998; i < 5000; ++i) {
    for (std::int64_t h = 0; h < 4; ++h) {
      for (std::size_t d = 0; d < 32; ++d) {
        const std::size_t at = static_cast<std::size_t>(h * 5000 + i) * 32 + d;
        REQUIRE(want.out[at] == whole.out[at]);
      }
    }
  }
  on_every_isa([&] {
    StreamOutputs got(tokens.stream);
    attend_last(cache, sequence, tokens, 4998, 2, options, got);
    CHECK(got == want);
  });
}

TEST_CASE("a forked sequence equals an independent one, and its parent does not change") {
  const Stream shape{.tokens = 330, .seed = 4};
  const StreamTokens first(shape);
  StreamTokens second(shape);  // the same 200 tokens, then others
  const Stream other{.tokens = 330, .seed = 5};
  const StreamTokens rest(other);
  const auto replace = [&](std::vector<float>& to, const std::vector<float>& from,
                           std::int64_t heads, std::int64_t width) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto begin = static_cast<std::ptrdiff_t>((h * 330 + 200) * width);
      std::copy(from.begin() + begin,
                from.begin() + begin + static_cast<std::ptrdiff_t>(130 * width),
                to.begin() + begin);
    }
  };
  replace(second.q, rest.q, shape.heads, shape.head_dim);
  replace(second.k, rest.k, shape.kv_heads, shape.head_dim);
  replace(second.v, rest.v, shape.kv_heads, shape.value_dim);
  const AttentionOptions options{.mask = causal()};
  const StreamOutputs want_first = in_one_tensor(reference::attention, first, options);
  const StreamOutputs want_second = in_one_tensor(reference::attention, second, options);
  on_every_isa([&] {
    for (const bool child_first : {false, true}) {
      KvCache cache(config_of(shape));
      StreamOutputs got_first(shape), got_second(shape);
      const std::int64_t parent = cache.add();
      feed(cache, parent, first, 0, 200, 50, options, got_first);
      const std::int64_t child = cache.fork(parent);
      CHECK(cache.usage().pages_used == 4);  // all of them shared
      got_second = got_first;
      if (child_first) feed(cache, child, second, 200, 330, 13, options, got_second);
      feed(cache, parent, first, 200, 330, 33, options, got_first);
      if (!child_first) feed(cache, child, second, 200, 330, 13, options, got_second);
      CHECK(got_first == want_first);
      CHECK(std::equal(got_second.lse.begin() + 200, got_second.lse.begin() + 330,
                       want_second.lse.begin() + 200));
      StreamOutputs again(shape);
      attend_last(cache, child, second, 0, 330, options, again);
      CHECK(again == want_second);
      cache.remove(parent);
      attend_last(cache, child, second, 0, 330, options, again);
      CHECK(again == want_second);
    }
  });
}

TEST_CASE("a rolled back sequence is as if the tokens had never been appended, even with NaN") {
  const StreamTokens tokens({.tokens = 300, .seed = 6});
  StreamTokens poison({.tokens = 300, .seed = 7});
  std::fill(poison.k.begin(), poison.k.end(), kNaN);
  std::fill(poison.v.begin(), poison.v.end(), kNaN);
  const AttentionOptions options{.mask = causal()};
  const StreamOutputs want = in_one_tensor(reference::attention, tokens, options);
  on_every_isa([&] {
    for (const std::int64_t length : {0, 1, 63, 64, 100, 256, 299}) {
      CAPTURE(length);
      KvCache cache(config_of(tokens.stream));
      StreamOutputs got(tokens.stream);
      const std::int64_t sequence = cache.add();
      feed(cache, sequence, tokens, 0, length, 70, options, got);
      const std::int64_t used = cache.usage().pages_used;
      cache.append(sequence, poison.keys(0, 300 - length), poison.values_of(0, 300 - length));
      cache.truncate(sequence, length);
      CHECK(cache.usage().pages_used == used);
      // NaN is now in the page's tail and in the next pages.
      feed(cache, sequence, tokens, length, 300, 17, options, got);
      CHECK(got == want);
    }
  });
}

TEST_CASE("pages in any order, and a sequence alone or in a mixed batch, have the same bits") {
  constexpr std::int64_t kCount = 4;
  const std::int64_t lengths[kCount] = {300, 1, 77, 520}, q_lens[kCount] = {300, 1, 0, 3};
  std::vector<StreamTokens> streams;
  std::vector<StreamOutputs> want;
  const AttentionOptions options{.mask = causal(), .soft_cap = 15.0f};
  for (std::int64_t s = 0; s < kCount; ++s) {
    streams.emplace_back(Stream{.tokens = lengths[s], .seed = 10 + static_cast<std::uint64_t>(s)});
    want.push_back(in_one_tensor(reference::attention, streams.back(), options));
  }
  on_every_isa([&] {
    KvCache cache(config_of(streams[0].stream));
    std::vector<std::int64_t> numbers;
    for (std::int64_t s = 0; s < kCount; ++s) numbers.push_back(cache.add());
    // One token of each in turn, so that their pages interleave.
    for (std::int64_t t = 0; t < 520; ++t) {
      for (std::size_t s = 0; s < kCount; ++s) {
        if (t >= lengths[s]) continue;
        cache.append(numbers[s], streams[s].keys(t, 1), streams[s].values_of(t, 1));
      }
    }
    std::vector<float> q, out(304 * 4 * 35, -1.0f), lse(304 * 4, -1.0f);
    std::vector<std::int64_t> rows{0};
    for (std::size_t s = 0; s < kCount; ++s) {
      rows.push_back(rows.back() + q_lens[s]);
      const auto view = streams[s].queries(lengths[s] - q_lens[s], q_lens[s]);
      for (std::int64_t i = 0; i < q_lens[s]; ++i) {
        for (std::int64_t h = 0; h < 4; ++h) q.insert(q.end(), &view(i, h, 0), &view(i, h, 0) + 20);
      }
    }
    AttentionOptions with_lse = options;
    with_lse.lse = {lse.data(), {1, 4, 304}, {0, 1, 4}};
    attention({q.data(), {304, 4, 20}}, cache, {.sequences = numbers, .rows = rows},
              {out.data(), {304, 4, 35}}, with_lse);
    for (std::size_t s = 0; s < kCount; ++s) {
      CAPTURE(s);
      for (std::int64_t i = 0; i < q_lens[s]; ++i) {
        for (std::int64_t h = 0; h < 4; ++h) {
          const std::int64_t row = (rows[s] + i) * 4 + h;
          const std::int64_t at = h * lengths[s] + lengths[s] - q_lens[s] + i;
          const std::vector<float> got(out.begin() + row * 35, out.begin() + (row + 1) * 35);
          const std::vector<float> alone(want[s].out.begin() + at * 35,
                                         want[s].out.begin() + (at + 1) * 35);
          CHECK(same_bits(got, alone));
          CHECK(lse[static_cast<std::size_t>(row)] == want[s].lse[static_cast<std::size_t>(at)]);
        }
      }
    }
  });
}

TEST_CASE("weight sums over a cache are those of one tensor, and 0 after a sequence's end") {
  const StreamTokens tokens({.tokens = 600, .seed = 9});
  const std::int64_t lengths[] = {600, 290}, rows[] = {0, 5, 45};
  for (const std::int64_t heads : {4, 2}) {
    std::vector<float> want(static_cast<std::size_t>(2 * heads * 600)), got(want.size());
    const auto sums = [&](std::vector<float>& floats) {
      return TensorView<float, 3>(floats.data(), {2, heads, 600});
    };
    for (std::size_t s = 0; s < 2; ++s) {
      const std::int64_t count = rows[s + 1] - rows[s], first = lengths[s] - count;
      std::vector<float> out(static_cast<std::size_t>(4 * count * 35));
      reference::attention(as_batch<const void>(tokens.queries(first, count)),
                           as_batch<const void>(tokens.keys(0, lengths[s])),
                           as_batch<const void>(tokens.values_of(0, lengths[s])),
                           {out.data(), {1, 4, count, 35}},
                           {.mask = causal_bottom_right().windowed(350, kNoWindow),
                            .weight_sums = sums_of(sums(want), s)});
    }
    on_every_isa([&] {
      KvCache cache(config_of(tokens.stream));
      const std::int64_t numbers[] = {cache.add(), cache.add()};
      std::vector<float> q, out(45 * 4 * 35);
      for (std::size_t s = 0; s < 2; ++s) {
        cache.append(numbers[s], tokens.keys(0, lengths[s]), tokens.values_of(0, lengths[s]));
        const std::int64_t count = rows[s + 1] - rows[s];
        const auto view = tokens.queries(lengths[s] - count, count);
        for (std::int64_t i = 0; i < count; ++i) {
          for (std::int64_t h = 0; h < 4; ++h)
            q.insert(q.end(), &view(i, h, 0), &view(i, h, 0) + 20);
        }
      }
      std::fill(got.begin(), got.end(), kNaN);
      attention({q.data(), {45, 4, 20}}, cache, {.sequences = numbers, .rows = rows},
                {out.data(), {45, 4, 35}},
                {.mask = causal().windowed(350, kNoWindow), .weight_sums = sums(got)});
      CHECK(same_bits(got, want));
    });
  }
}

TEST_CASE("a NaN in a cached value makes exactly those rows NaN that see it") {
  StreamTokens tokens({.tokens = 300, .seed = 8});
  tokens.v[static_cast<std::size_t>(270 * 35 + 3)] = kNaN;  // of kv head 0
  const AttentionOptions options{.mask = causal()};
  const StreamOutputs want = in_one_tensor(reference::attention, tokens, options);
  on_every_isa([&] { CHECK(cached(tokens, config_of(tokens.stream), 90, options) == want); });
}

TEST_CASE("a sequence named by its number has the bits of a call with one sequence") {
  const StreamTokens tokens(Stream{.tokens = 300, .seed = 51});
  const Stream& s = tokens.stream;
  KvCache cache(config_of(s));
  const std::int64_t sequence = cache.add();
  cache.append(sequence, tokens.keys(0, 300), tokens.values_of(0, 300));
  StreamOutputs want(s), got(s);
  attend_last(cache, sequence, tokens, 290, 10, {.mask = causal()}, want);
  attention(tokens.queries(290, 10), cache, sequence, got.rows(290, 10),
            {.mask = causal(), .lse = got.sums(290, 10)});
  CHECK(got == want);
  CHECK(sentence_of([&] { attention(tokens.queries(290, 10), cache, 77, got.rows(290, 10)); }) ==
        "sequence: 77 is not in the cache");
}

}  // namespace rapt::test
