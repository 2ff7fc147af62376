// One cache and many threads, each with its own sequences: a separate program without tasks of
// oneTBB, so that ThreadSanitizer sees all synchronisation between threads.
#include "rapt/kv_cache.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <latch>
#include <thread>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kDim = 2, kTokens = 80;

TensorView<const float, 3> tokens(const std::vector<float>& floats, std::int64_t count) {
  return TensorView<const float, 3>(floats.data(), {kTokens, 1, kDim}).sliced(0, 0, count);
}

}  // namespace

TEST_CASE("sequences that threads fork, grow, roll back and remove leak no page") {
  const std::vector<float> floats(kTokens * kDim, 1.0f);
  KvCache cache({.kv_heads = 1, .head_dim = kDim, .page_tokens = 32, .max_pages = 200});
  const std::int64_t parent = cache.add();
  cache.append(parent, tokens(floats, 40), tokens(floats, 40));
  std::atomic<int> wrong{0};
  constexpr int kThreads = 6;
  std::latch start(kThreads);  // no thread ends before the last one has started
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      start.arrive_and_wait();
      for (int n = 0; n < (quick() ? 8000 : 100000); ++n) {
        const std::int64_t own = n % 5 == 0 ? cache.add() : cache.fork(parent);
        const std::int64_t had = cache.length(own), count = 1 + (n * 7 + t) % kTokens;
        cache.append(own, tokens(floats, count), tokens(floats, count));
        if (cache.length(own) != had + count || cache.first_token(own) != 0) ++wrong;
        if (n % 3 == 0) cache.truncate(own, had);
        if (cache.usage().pages_used < 2) ++wrong;
        cache.remove(own);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(cache.usage().sequences == 1);
  CHECK(cache.usage().pages_used == 2);
  cache.remove(parent);
  CHECK(cache.usage().pages_used == 0);
}

}  // namespace rapt::test
