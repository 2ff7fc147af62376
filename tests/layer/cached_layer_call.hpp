// A valid call of a layer over a cache, for tests to make invalid one argument at a time; and the
// state that a failed call must preserve.
#pragma once

#include "layer/cached_layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rapt::test {

/// The observable state of a cache.
struct CacheSnapshot {
  CacheSnapshot(const KvCache& cache, const std::vector<std::int64_t>& sequences)
      : usage(cache.usage()) {
    for (const std::int64_t sequence : sequences) {
      lengths.push_back(cache.length(sequence));
      first_tokens.push_back(cache.first_token(sequence));
    }
  }
  bool operator==(const CacheSnapshot& other) const {
    return usage.sequences == other.usage.sequences && usage.pages_used == other.usage.pages_used &&
           lengths == other.lengths && first_tokens == other.first_tokens;
  }

  KvCacheUsage usage;
  std::vector<std::int64_t> lengths, first_tokens;
};

/// Five rows of an empty sequence and one of another, 40 features each.
struct CachedLayerCall {
  explicit CachedLayerCall(LayerProblem problem_) : problem(std::move(problem_)) {}

  /// Another cache, with other sequences.
  void use_cache(const KvCacheConfig& config) {
    cache = KvCache(config);
    sequences = {cache.add(), cache.add()};
  }
  void use_four_positions() {
    problem.rope =
        std::make_shared<const RopeTable>(Rope::half, RopeConfig{.rotary_dims = 8, .positions = 4});
    problem.config.rope = *problem.rope;
    layer = problem.layer();
  }
  /// The state of the first sequence; a test may replace the second one.
  CacheSnapshot snapshot() const { return {cache, {sequences[0]}}; }

  /// The error of a call that may write y and must change nothing else; "" if it succeeds.
  std::string error_of(const std::function<void()>& call) {
    const std::vector<float> before = memory;
    const CacheSnapshot cache_before = snapshot();
    const std::string sentence = sentence_of(call);
    CHECK(same_bits(memory, before) == !sentence.empty());
    if (!sentence.empty()) CHECK(snapshot() == cache_before);
    return sentence;
  }

  LayerProblem problem;
  MultiHeadAttention layer = problem.layer();
  KvCache cache{cache_of(problem.config)};
  std::vector<std::int64_t> sequences{cache.add(), cache.add()};
  std::vector<std::int64_t> rows{0, 5, 6};
  std::vector<float> memory = normal_floats(4096, 22);
  TensorView<const float, 2> x{memory.data(), {6, 40}};
  TensorView<float, 2> y{memory.data() + 1024, {6, 40}};
  AttentionOptions options{};
};

}  // namespace rapt::test
