// The cache's own rules: budget, window, sharing, and that a failed call changes nothing.
#include "cache/cache_problem.hpp"
#include "rapt/error.hpp"
#include "reference/scalar.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace rapt::test {
namespace {

/// Checks that the call throws Error{code} with a sentence that has all the words.
void check_words(const std::function<void()>& call, ErrorCode code,
                 const std::vector<std::string>& words) {
  const std::string sentence = sentence_of(call, code);
  CAPTURE(sentence);
  for (const std::string& word : words) CHECK(sentence.find(word) != std::string::npos);
}

bool same_usage(const KvCacheUsage& x, const KvCacheUsage& y) {
  return x.sequences == y.sequences && x.pages_used == y.pages_used && x.pages_free == y.pages_free;
}

}  // namespace

TEST_CASE("an invalid configuration gives an error that names the field") {
  struct Mistake {
    KvCacheConfig config;
    std::vector<std::string> words;
  };
  const std::vector<Mistake> mistakes{
      {{.kv_heads = 0, .head_dim = 4}, {"config.kv_heads: 0"}},
      {{.kv_heads = 1, .head_dim = -1}, {"config.head_dim: -1"}},
      {{.kv_heads = 1, .head_dim = 4, .value_dim = -2}, {"config.value_dim: -2"}},
      {{.kv_heads = 1, .head_dim = 4, .page_tokens = 48}, {"config.page_tokens: 48", "64"}},
      {{.kv_heads = 1, .head_dim = 4, .page_tokens = 16}, {"config.page_tokens: 16"}},
      {{.kv_heads = 1, .head_dim = 4, .page_tokens = 512}, {"config.page_tokens: 512"}},
      {{.kv_heads = 1, .head_dim = 4, .max_pages = -1}, {"config.max_pages: -1"}},
      {{.kv_heads = 1, .head_dim = 4, .window = -2}, {"config.window: -2"}},
      {{.kv_heads = std::int64_t{1} << 50, .head_dim = 1 << 20}, {"config: pages", "too large"}},
  };
  for (const Mistake& mistake : mistakes) {
    check_words([&] { KvCache cache(mistake.config); }, ErrorCode::invalid_argument, mistake.words);
  }
}

TEST_CASE("an exhausted budget is an error that changes nothing") {
  const StreamTokens tokens({.tokens = 300});
  KvCacheConfig config = config_of(tokens.stream);
  config.max_pages = 3;
  KvCache cache(config);
  const std::int64_t a = cache.add(), b = cache.add();
  cache.append(a, tokens.keys(0, 100), tokens.values_of(0, 100));
  const KvCacheUsage before = cache.usage();
  CHECK(before.pages_used == 2);
  const AttentionOptions options{.mask = causal()};
  StreamOutputs want(tokens.stream), got(tokens.stream);
  attend_last(cache, a, tokens, 0, 100, options, want);

  check_words([&] { cache.append(b, tokens.keys(0, 65), tokens.values_of(0, 65)); },
              ErrorCode::cache_full, {"no room for 2 pages", "max_pages 3 leaves 1"});
  // All or none: b would fit, a would not.
  const std::int64_t both[] = {b, a}, rows[] = {0, 10, 110};
  check_words([&] { cache.append(both, rows, tokens.keys(0, 110), tokens.values_of(0, 110)); },
              ErrorCode::cache_full, {"max_pages 3"});
  check_words([&] { cache.reserve(2); }, ErrorCode::cache_full, {"max_pages 3"});
  CHECK(same_usage(cache.usage(), before));
  CHECK(cache.length(a) == 100);
  CHECK(cache.length(b) == 0);
  attend_last(cache, a, tokens, 0, 100, options, got);
  CHECK(got == want);

  // A fork needs its own page only when it appends to a partial page.
  const std::int64_t c = cache.fork(a);
  cache.append(b, tokens.keys(0, 64), tokens.values_of(0, 64));
  check_words([&] { cache.append(c, tokens.keys(0, 1), tokens.values_of(0, 1)); },
              ErrorCode::cache_full, {"no room for 1 page:", "max_pages 3 leaves 0"});
  CHECK(cache.length(c) == 100);
  cache.remove(b);
  cache.append(c, tokens.keys(0, 1), tokens.values_of(0, 1));
  CHECK(cache.usage().pages_used == 3);
  cache.remove(a);
  CHECK(cache.usage().pages_used == 2);
  cache.clear();
  CHECK(cache.usage().pages_used == 0);
  CHECK(cache.usage().pages_free == 3);
  CHECK(cache.usage().sequences == 0);
}

TEST_CASE("a window frees the pages before it, so that decoding stays within a budget") {
  const StreamTokens tokens({.tokens = 3000});
  KvCacheConfig config = config_of(tokens.stream);
  config.window = 100;
  config.max_pages = 3;
  KvCache cache(config);
  const std::int64_t sequence = cache.add();
  const AttentionOptions options{.mask = causal().windowed(100, 0)};
  StreamOutputs got(tokens.stream);
  feed(cache, sequence, tokens, 0, 3000, 1, options, got);
  CHECK(cache.usage().pages_used <= 3);
  CHECK(cache.length(sequence) == 3000);
  CHECK(cache.first_token(sequence) == (2999 - 100) / 64 * 64);
  CHECK(got == in_one_tensor(attention, tokens, options));

  StreamOutputs again(tokens.stream);
  check_words([&] { attend_last(cache, sequence, tokens, 2999, 1, {.mask = causal()}, again); },
              ErrorCode::invalid_argument, {"mask: ", "window 100", "2880"});
  check_words([&] { cache.truncate(sequence, 2900); }, ErrorCode::invalid_argument,
              {"length: 2900", "window 100", "2880"});
  CHECK(cache.length(sequence) == 3000);
  cache.truncate(sequence, 2980);
  feed(cache, sequence, tokens, 2980, 3000, 7, options, again);
  for (std::size_t i = 2980; i < 3000; ++i) CHECK(again.lse[i] == got.lse[i]);
}

TEST_CASE("wrong sequences, shapes and counts are errors that change nothing") {
  const StreamTokens tokens({.tokens = 100});
  KvCache cache(config_of(tokens.stream));
  const std::int64_t a = cache.add();
  cache.append(a, tokens.keys(0, 50), tokens.values_of(0, 50));
  const KvCacheUsage before = cache.usage();
  const auto k = tokens.keys(0, 10), v = tokens.values_of(0, 10);
  const std::int64_t twice[] = {a, a}, rows[] = {0, 5, 10}, one_row[] = {0, 10};
  StreamOutputs outputs(tokens.stream);
  const StreamOutputs untouched(tokens.stream);
  const auto attend = [&](TensorView<const float, 3> q, std::int64_t sequence, std::int64_t count,
                          const AttentionOptions& options) {
    const std::int64_t offsets[] = {0, count};
    attention(q, cache, {.sequences = {&sequence, 1}, .rows = offsets}, outputs.rows(0, q.shape[0]),
              options);
  };
  const auto q = tokens.queries(0, 10);
  const std::int64_t offsets[] = {1};
  struct Mistake {
    std::function<void()> call;
    std::vector<std::string> words;
  };
  const std::vector<Mistake> mistakes{
      {[&] { cache.append(77, k, v); }, {"sequence: 77"}},
      {[&] { cache.append(a, k.sliced(1, 0, 1), v); }, {"k: kv_heads 1", "cache's kv_heads 2"}},
      {[&] { cache.append(a, k.sliced(2, 0, 19), v); }, {"k: head_dim 19", "cache's head_dim 20"}},
      {[&] { cache.append(a, k, v.sliced(0, 0, 9)); }, {"v: tokens 9", "k's tokens 10"}},
      {[&] { cache.append(a, k, v.sliced(2, 0, 34)); },
       {"v: value_dim 34", "cache's value_dim 35"}},
      {[&] { cache.append(twice, rows, k, v); }, {"sequences: 0 is named twice"}},
      {[&] { cache.append(twice, one_row, k, v); }, {"rows: offsets 2", "sequences + 1 = 3"}},
      {[&] { cache.truncate(a, 51); }, {"length: 51", "50 tokens of sequence 0"}},
      {[&] { cache.truncate(a, -1); }, {"length: -1", "50 tokens of sequence 0"}},
      {[&] { cache.remove(77); }, {"sequence: 77"}},
      {[&] { cache.fork(77); }, {"sequence: 77"}},
      {[&] { (void)cache.length(77); }, {"sequence: 77"}},
      {[&] { cache.reserve(-1); }, {"pages: -1"}},
      {[&] { attend(q, 77, 10, {}); }, {"sequence: 77"}},
      {[&] { attend(q.sliced(1, 0, 3), a, 10, {}); }, {"out: heads 4", "q's heads 3"}},
      {[&] { attend(q.sliced(2, 0, 19), a, 10, {}); }, {"q: head_dim 19", "cache's head_dim 20"}},
      {[&] { attend(q, a, 11, {}); }, {"queries.rows: offset 11 at 1", "10 rows"}},
      {[&] { attend(tokens.queries(0, 60), a, 60, {}); },
       {"q: q_len 60 of sequence 0", "its length 50"}},
      {[&] { attend(tokens.queries(0, 51), a, 51, {}); },
       {"q: q_len 51 of sequence 0", "its length 50"}},
      {[&] { attend(q, a, 10, {.mask = causal(3)}); }, {"mask: query_offset 3"}},
      {[&] { attend(q, a, 10, {.mask = causal(offsets)}); },
       {"mask.query_offsets: 1 offset cannot"}},
      {[&] {
         attention(q, cache, {.sequences = twice, .rows = rows}, outputs.rows(0, 10),
                   {.mask = causal().with_prefix(offsets)});
       },
       {"mask.prefix_lens: lengths 1", "queries.sequences 2"}},
      {[&] { attend(q, a, 10, {.kv_lens = offsets}); }, {"kv_lens: 1 length cannot"}},
      {[&] { attend(q, a, 10, {.soft_cap = -1.0f}); }, {"soft_cap: -1.0"}},
  };
  for (const Mistake& mistake : mistakes) {
    check_words(mistake.call, ErrorCode::invalid_argument, mistake.words);
    CHECK(outputs == untouched);
    CHECK(same_usage(cache.usage(), before));
    CHECK(cache.length(a) == 50);
  }
}

TEST_CASE("sequences may be written and read by different threads at once") {
  const StreamTokens tokens({.tokens = 200});
  const AttentionOptions options{.mask = causal()};
  const StreamOutputs want = in_one_tensor(attention, tokens, options);
  KvCache cache(config_of(tokens.stream));
  std::vector<StreamOutputs> got(6, StreamOutputs(tokens.stream));
  const std::int64_t shared = cache.add();
  feed(cache, shared, tokens, 0, 90, 30, options, got[0]);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < got.size(); ++t) {
    if (t > 0) got[t] = got[0];
  }
  for (std::size_t t = 0; t < got.size(); ++t) {
    threads.emplace_back([&, t] {
      const std::int64_t own = cache.fork(shared);
      feed(cache, own, tokens, 90, 200, 1 + static_cast<std::int64_t>(t), options, got[t]);
      cache.remove(own);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const StreamOutputs& outputs : got) CHECK(outputs == want);
  CHECK(cache.usage().pages_used == 2);
}

}  // namespace rapt::test
