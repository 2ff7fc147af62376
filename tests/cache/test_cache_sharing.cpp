// Shared pages: a sequence that appends to a shared page gets a copy, at any token of the page.
#include "cache/cache_problem.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <cstdint>

namespace rapt::test {

TEST_CASE(
    "a fork at any token of a page and its parent never change each other's keys and values") {
  const StreamTokens tokens({.tokens = 200, .seed = 3}), others({.tokens = 200, .seed = 4});
  const AttentionOptions options{.mask = causal()};
  for (const std::int64_t length : {1, 2, 63, 64, 65, 66, 127, 128, 129}) {
    CAPTURE(length);
    KvCache cache(config_of(tokens.stream));
    const std::int64_t parent = cache.add();
    StreamOutputs want(tokens.stream), got(tokens.stream);
    feed(cache, parent, tokens, 0, length, length, options, want);
    feed(cache, parent, tokens, length, length + 1, 1, options, want);
    cache.truncate(parent, length);
    const std::int64_t child = cache.fork(parent);
    const std::int64_t pages = cache.usage().pages_used;

    cache.append(child, others.keys(0, 70), others.values_of(0, 70));
    StreamOutputs child_before(others.stream), child_after(others.stream);
    attend_last(cache, child, others, 0, 70, options, child_before);
    feed(cache, parent, tokens, length, length + 1, 1, options, got);
    attend_last(cache, child, others, 0, 70, options, child_after);
    CHECK(child_before == child_after);
    for (std::int64_t h = 0; h < tokens.stream.heads; ++h) {
      const auto at = static_cast<std::size_t>(h * tokens.stream.tokens + length);
      CHECK(got.lse[at] == want.lse[at]);
    }
    cache.remove(child);
    cache.truncate(parent, length);
    CHECK(cache.usage().pages_used == pages);
    cache.remove(parent);
    CHECK(cache.usage().pages_used == 0);
  }
}

TEST_CASE("the pages that a fork keeps after a roll-back are still shared") {
  const StreamTokens tokens({.tokens = 200, .seed = 3}), others({.tokens = 200, .seed = 4});
  const AttentionOptions options{.mask = causal()};
  KvCache cache(config_of(tokens.stream));
  const std::int64_t parent = cache.add();
  StreamOutputs want(tokens.stream), got(tokens.stream);
  feed(cache, parent, tokens, 0, 100, 100, options, want);
  const std::int64_t child = cache.fork(parent);
  cache.truncate(child, 64);
  cache.append(child, others.keys(0, 1), others.values_of(0, 1));
  cache.truncate(child, 10);
  cache.append(child, others.keys(0, 1), others.values_of(0, 1));
  attend_last(cache, parent, tokens, 0, 100, options, got);
  CHECK(got == want);
}

TEST_CASE("a fork of a sequence with a window has only the pages that are held, and can grow") {
  const StreamTokens tokens({.tokens = 400, .seed = 5});
  KvCacheConfig config = config_of(tokens.stream);
  config.window = 100;
  const AttentionOptions options{.mask = causal().windowed(100, 0)};
  const StreamOutputs want = in_one_tensor(attention, tokens, options);
  KvCache cache(config);
  const std::int64_t parent = cache.add();
  StreamOutputs got(tokens.stream), child_got(tokens.stream);
  feed(cache, parent, tokens, 0, 300, 1, options, got);
  const std::int64_t pages = cache.usage().pages_used;
  const std::int64_t child = cache.fork(parent);
  CHECK(cache.usage().pages_used == pages);
  CHECK(cache.first_token(child) == cache.first_token(parent));
  child_got = got;
  feed(cache, parent, tokens, 300, 400, 1, options, got);
  feed(cache, child, tokens, 300, 400, 9, options, child_got);
  CHECK(got == want);
  CHECK(child_got == want);
  cache.remove(parent);
  cache.remove(child);
  CHECK(cache.usage().pages_used == 0);
}

TEST_CASE("pages before a window that a fork still holds free no budget") {
  const StreamTokens tokens({.tokens = 300, .seed = 6});
  KvCacheConfig config = config_of(tokens.stream);
  config.window = 64;
  config.max_pages = 3;
  KvCache cache(config);
  const std::int64_t parent = cache.add();
  cache.append(parent, tokens.keys(0, 192), tokens.values_of(0, 192));
  const std::int64_t child = cache.fork(parent);
  const auto append = [&] { cache.append(parent, tokens.keys(192, 1), tokens.values_of(192, 1)); };
  CHECK(!sentence_of(append, ErrorCode::cache_full).empty());
  CHECK(cache.length(parent) == 192);
  CHECK(cache.first_token(parent) == 0);
  CHECK(cache.usage().pages_used == 3);
  cache.remove(child);
  append();
  CHECK(cache.first_token(parent) == 128);
  CHECK(cache.usage().pages_used == 2);
}

}  // namespace rapt::test
