// Keys freed by a cache's window, exact to one key: calls and roll-backs that need a freed key are
// errors, those that need only the next one are not.
#include "cache/cache_problem.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace rapt::test {
namespace {

constexpr std::int64_t kWindow = 100;

/// A cache whose one sequence got `length` tokens one by one.
struct WindowedCache {
  explicit WindowedCache(const StreamTokens& tokens, std::int64_t length) : cache(config(tokens)) {
    sequence = cache.add();
    for (std::int64_t t = 0; t < length; ++t) {
      cache.append(sequence, tokens.keys(t, 1), tokens.values_of(t, 1));
    }
  }
  static KvCacheConfig config(const StreamTokens& tokens) {
    KvCacheConfig config = config_of(tokens.stream);
    config.window = kWindow;
    return config;
  }
  std::int64_t first() const { return cache.first_token(sequence); }

  KvCache cache;
  std::int64_t sequence;
};

}  // namespace

TEST_CASE("a query may see the first key that a window holds, and not the one before it") {
  const StreamTokens tokens({.tokens = 400});
  for (const std::int64_t length : {165, 166, 229, 300, 400}) {
    const WindowedCache held(tokens, length);
    const std::int64_t first = held.first();
    CAPTURE(length);
    REQUIRE(first > 0);
    for (const std::int64_t q_len : {1, 5}) {
      const std::int64_t query = length - q_len;  // the first one, which sees furthest left
      const AttentionOptions fits{.mask = causal().windowed(query - first, 0)};
      StreamOutputs got(tokens.stream);
      attend_last(held.cache, held.sequence, tokens, query, q_len, fits, got);
      const StreamOutputs want = in_one_tensor(attention, tokens, fits);
      for (std::int64_t h = 0; h < tokens.stream.heads; ++h) {
        const auto at = static_cast<std::size_t>(h * tokens.stream.tokens + query);
        CHECK(got.lse[at] == want.lse[at]);
      }

      const StreamOutputs before = got;
      const AttentionOptions too_far{.mask = causal().windowed(query - first + 1, 0)};
      const std::string sentence = sentence_of(
          [&] { attend_last(held.cache, held.sequence, tokens, query, q_len, too_far, got); });
      CAPTURE(sentence);
      CHECK(sentence.find("may see key " + std::to_string(first - 1)) != std::string::npos);
      CHECK(got == before);
    }
  }
}

TEST_CASE("a roll-back may reach the first held token of its window, and not the one before it") {
  const StreamTokens tokens({.tokens = 400});
  const AttentionOptions options{.mask = causal().windowed(kWindow, 0)};
  const StreamOutputs want = in_one_tensor(attention, tokens, options);
  for (const std::int64_t length : {165, 229, 300, 400}) {
    WindowedCache held(tokens, length);
    CAPTURE(length);
    const std::int64_t least = held.first() + kWindow;
    REQUIRE(held.first() > 0);
    CHECK(!sentence_of([&] { held.cache.truncate(held.sequence, least - 1); }).empty());
    CHECK(held.cache.length(held.sequence) == length);
    held.cache.truncate(held.sequence, least);
    StreamOutputs got(tokens.stream);
    const std::int64_t last = std::min<std::int64_t>(least + 3, tokens.stream.tokens);
    feed(held.cache, held.sequence, tokens, least, last, 1, options, got);
    for (std::int64_t t = least; t < last; ++t) {
      CHECK(got.lse[static_cast<std::size_t>(t)] == want.lse[static_cast<std::size_t>(t)]);
    }
  }
}

}  // namespace rapt::test
