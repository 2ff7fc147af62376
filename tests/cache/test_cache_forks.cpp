// Forks that grow in one call need no more pages than one after the other, have the same bits, and
// lose nothing if the call is rolled back.
#include "cache/cache_problem.hpp"
#include "rapt/error.hpp"
#include "rapt/multi_head_attention.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <vector>

namespace rapt::test {
namespace {

/// Forks of one sequence, some of them rolled back, and the number of new tokens of each.
struct Forks {
  std::int64_t length;                        ///< of the forked sequence
  std::vector<std::int64_t> lengths, counts;  ///< of each fork: its length and its new tokens
  bool parent_stays = false;                  ///< the parent remains and shares the pages
  std::int64_t window = kNoWindow;
};

const StreamTokens& stream() {
  static const StreamTokens tokens({.tokens = 400});
  return tokens;
}

/// Appends to all forks in one call, or one after the other, within a budget. Returns the results
/// of one query per fork, or nothing if the cache is full.
std::optional<StreamOutputs> grow(const Forks& forks, std::int64_t max_pages, bool in_one_call) {
  KvCacheConfig config = config_of(stream().stream);
  config.page_tokens = 32;
  config.max_pages = max_pages;
  config.window = forks.window;
  KvCache cache(config);
  StreamOutputs outputs(stream().stream);
  try {
    const std::int64_t parent = cache.add();
    cache.append(parent, stream().keys(0, forks.length), stream().values_of(0, forks.length));
    std::vector<std::int64_t> sequences, rows{0};
    for (std::size_t i = 0; i < forks.lengths.size(); ++i) {
      sequences.push_back(cache.fork(parent));
      cache.truncate(sequences.back(), forks.lengths[i]);
      rows.push_back(rows.back() + forks.counts[i]);
    }
    if (!forks.parent_stays) cache.remove(parent);
    if (in_one_call) {
      cache.append(sequences, rows, stream().keys(0, rows.back()),
                   stream().values_of(0, rows.back()));
    }
    for (std::size_t i = 0; i < sequences.size() && !in_one_call; ++i) {
      cache.append(sequences[i], stream().keys(rows[i], forks.counts[i]),
                   stream().values_of(rows[i], forks.counts[i]));
    }
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      AttentionOptions options;
      if (forks.window != kNoWindow) options.mask = causal().windowed(forks.window, 0);
      attend_last(cache, sequences[i], stream(), row, 1, options, outputs);
    }
    if (forks.parent_stays) attend_last(cache, parent, stream(), 20, 1, {}, outputs);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::cache_full);
    return std::nullopt;
  }
  return outputs;
}

/// The smallest budget in which the forks can grow.
std::int64_t min_pages(const Forks& forks, bool in_one_call) {
  std::int64_t pages = 1;
  while (pages < 40 && !grow(forks, pages, in_one_call)) ++pages;
  return pages;
}

}  // namespace

TEST_CASE("forks that share a partial page grow in one call within the budget of separate calls") {
  const std::vector<Forks> cases{
      {40, {40, 40}, {1, 1}},
      {40, {40, 40, 40}, {1, 1, 1}},
      {40, {40, 40}, {1, 1}, true},
      {40, {40, 40}, {1, 0}},
      {40, {40, 36, 33}, {1, 40, 3}},
      {40, {33, 36, 40}, {30, 2, 1}},
      {40, {40, 10, 40, 5}, {1, 2, 3, 4}},  // two pages, each shared by two forks
      {64, {64, 64}, {1, 1}},
      {70, {70, 64, 65}, {100, 1, 1}},
  };
  for (const Forks& forks : cases) {
    CAPTURE(forks.length);
    CAPTURE(forks.lengths.size());
    const std::int64_t pages = min_pages(forks, false);
    CHECK(min_pages(forks, true) == pages);
    CHECK(grow(forks, pages, true) == grow(forks, pages, false));
  }
}

TEST_CASE("forks whose window frees shared pages need no more pages in one call") {
  const std::vector<Forks> cases{
      {96, {96, 96}, {1, 1}, false, 20},
      {96, {96, 96, 96}, {1, 1, 1}, false, 20},
      {100, {100, 100}, {30, 60}, false, 20},
      {96, {96, 96}, {1, 1}, true, 20},
  };
  for (const Forks& forks : cases) {
    CAPTURE(forks.length);
    const std::int64_t pages = min_pages(forks, false);
    CHECK(min_pages(forks, true) <= pages);
    if (!forks.parent_stays) CHECK(grow(forks, pages, true) == grow(forks, pages, false));
  }
}

TEST_CASE("forks of one page keep their tokens when a layer's call is rolled back") {
  const std::vector<float> numbers = normal_floats(64 * 16, 9);
  const Linear projection(TensorView<const float, 2>(numbers.data(), {16, 16}));
  const MultiHeadAttention layer({.model_dim = 16, .num_heads = 2},
                                 {projection, projection, projection, projection});
  const auto rows_of_x = [&](std::int64_t count) {
    return TensorView<const float, 2>(numbers.data(), {count, 16});
  };
  KvCache cache({.kv_heads = 2, .head_dim = 8, .page_tokens = 32});
  const std::int64_t first[] = {cache.add()}, all[] = {0, 20};
  std::vector<float> y(64 * 16);
  layer.forward(rows_of_x(20), cache, {.sequences = first, .rows = all}, {y.data(), {20, 16}});
  const std::int64_t second = cache.fork(first[0]);
  cache.truncate(second, 9);
  const auto look = [&] {
    std::vector<float> seen(2 * 16);
    const std::int64_t both[] = {first[0], second}, one_each[] = {0, 1, 2};
    layer.cross_forward(rows_of_x(2), cache, {.sequences = both, .rows = one_each},
                        {seen.data(), {2, 16}});
    return seen;
  };
  const std::vector<float> before = look();
  const auto fail = [](const ScoreTile&) { throw std::runtime_error("no"); };
  for (const bool shorter_first : {true, false}) {
    const std::int64_t both[] = {shorter_first ? second : first[0],
                                 shorter_first ? first[0] : second};
    const std::int64_t rows[] = {0, 5, 10};
    CHECK_THROWS_AS(layer.forward(rows_of_x(10), cache, {.sequences = both, .rows = rows},
                                  {y.data(), {10, 16}}, {.score_callback = fail}),
                    std::runtime_error);
    CHECK(cache.usage().pages_used == 1);
    CHECK(same_bits(look(), before));
  }
}

}  // namespace rapt::test
