// Calls of the layer over a cache that are errors or fail midway leave the cache unchanged.
#include "layer/cached_layer_call.hpp"
#include "layer/cached_layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

struct Call : CachedLayerCall {
  Call() : CachedLayerCall(cached_problem(21)) { options.mask = causal(); }

  void forward() { layer.forward(x, cache, {.sequences = sequences, .rows = rows}, y, options); }
  std::string error() {
    return error_of([this] { forward(); });
  }
};

std::string spoilt(const std::function<void(Call&)>& change) {
  Call call;
  change(call);
  return call.error();
}

TEST_CASE("a cache with other sizes than the layer's is refused with both sizes") {
  const auto with_cache = [](const KvCacheConfig& config) {
    return spoilt([&](Call& c) { c.use_cache(config); });
  };
  CHECK(with_cache({.kv_heads = 2, .head_dim = 16, .value_dim = 20}) == "");
  CHECK(with_cache({.kv_heads = 8, .head_dim = 16, .value_dim = 20}) ==
        "cache: kv_heads 8 does not match the layer's num_kv_heads 2");
  CHECK(with_cache({.kv_heads = 2, .head_dim = 20}) ==
        "cache: head_dim 20 does not match the layer's head_dim 16");
  CHECK(with_cache({.kv_heads = 2, .head_dim = 16}) ==
        "cache: value_dim 16 does not match the layer's value_dim 20");
}

TEST_CASE("rows, sequences and outputs that do not fit are refused") {
  CHECK(spoilt([](Call& c) { c.x.shape[1] = 39; }) ==
        "x: features 39 does not match the layer's model_dim 40");
  CHECK(spoilt([](Call& c) { c.y.shape[0] = 5; }) == "y: rows 5 does not match x's rows 6");
  CHECK(spoilt([](Call& c) { c.y.shape[1] = 41; }) ==
        "y: features 41 does not match the layer's output_dim 40");
  CHECK(spoilt([](Call& c) { c.y.strides[0] = 39; }).find("y: the stride 39") == 0);
  CHECK(spoilt([](Call& c) { c.y.data = c.memory.data() + 239; }) == "y: overlaps x");
  CHECK(spoilt([](Call& c) { c.options.lse = {c.memory.data(), {1, 8, 6}}; }) == "lse: overlaps x");
  CHECK(spoilt([](Call& c) { c.sequences[1] = 77; }) == "sequence: 77 is not in the cache");
  CHECK(spoilt([](Call& c) { c.sequences[1] = c.sequences[0]; }) == "sequences: 0 is named twice");
  CHECK(spoilt([](Call& c) {
          c.rows = {0, 6};
        }) == "queries.rows: offsets 2 does not match queries.sequences + 1 = 3");
  CHECK(spoilt([](Call& c) {
          c.rows = {0, 5, 7};
        }) == "queries.rows: offset 7 at 2 is not within 5 and the 6 rows");
  CHECK(spoilt([](Call& c) { c.x.shape[0] = c.y.shape[0] = 1; }) ==
        "queries.rows: offset 5 at 1 is not within 0 and the 1 row");
  CHECK(spoilt([](Call& c) {
          MultiHeadAttentionConfig config = c.problem.config;
          config.kv_model_dim = 8;
          c.layer = make_layer(23, config).layer();
        }).find("context: the layer's kv_model_dim 8") == 0);
}

TEST_CASE("options that repeat or contradict the cache or the layer are refused") {
  const std::vector<std::int64_t> positions{0, 1, 2, 3, 4, 0};
  const TensorView<const std::int64_t, 2> view(positions.data(), {1, 6});
  CHECK(spoilt([](Call& c) { c.options.qk_norm = QkNorm{}; }) ==
        "qk_norm: belongs in the layer's configuration when there is a cache");
  CHECK(spoilt([](Call& c) { c.options.rope.table = *c.problem.rope; }) ==
        "rope.table: belongs in the layer's configuration when there is a cache");
  CHECK(spoilt([&](Call& c) { c.options.rope.q_positions = view; }) ==
        "rope: positions cannot be given with a cache, which knows them");
  CHECK(spoilt([&](Call& c) { c.options.rope.k_positions = view; }) ==
        "rope: positions cannot be given with a cache, which knows them");
  CHECK(spoilt([](Call& c) { c.options.rope.rotate_keys = false; }).find("rope: rotate_keys") == 0);
  // Found only by attention(), when the tokens are already in the cache.
  CHECK(spoilt([](Call& c) { c.options.mask = causal(3); }) ==
        "mask: query_offset 3 cannot be given with a cache, which knows the positions");
  CHECK(spoilt([](Call& c) { c.options.kv_lens = c.rows; }).find("kv_lens: 3") == 0);
  CHECK(spoilt([](Call& c) { c.options.soft_cap = -1.0f; }).find("soft_cap: -1") == 0);
  CHECK(spoilt([](Call& c) {
          c.options.lse = {c.memory.data() + 2048, {1, 8, 5}};
        }).find("lse: q_len 5") == 0);
}

TEST_CASE("positions beyond the layer's table are refused with their sequence") {
  CHECK(spoilt([](Call& c) { c.use_four_positions(); }) ==
        "x: 5 rows behind the 0 tokens of sequence 0 would pass the 4 positions of the layer's "
        "RoPE");
}

TEST_CASE("a full cache is an error that changes no sequence") {
  Call c;
  KvCacheConfig config = cache_of(c.problem.config);
  config.max_pages = 2;
  c.use_cache(config);
  LayerStream stream(c.problem, 64, 24);
  feed(c.layer, c.cache, c.sequences[0], stream, 0, 64, 64, c.options);
  const std::vector<float> before = c.memory;
  const CacheSnapshot snapshot(c.cache, c.sequences);
  CHECK(sentence_of([&] { c.forward(); }, ErrorCode::cache_full) != "");
  CHECK(snapshot == CacheSnapshot(c.cache, c.sequences));
  CHECK(same_bits(c.memory, before));
  c.cache.truncate(c.sequences[0], 59);
  CHECK(c.error() == "");
}

/// Throws on its n-th tile, on whichever thread.
struct Thrower {
  std::atomic<int> left;
  void operator()(const ScoreTile&) {
    if (left-- == 0) throw std::runtime_error("no");
  }
};

TEST_CASE("a callback that throws leaves every page of a cache with forks and windows unchanged") {
  const LayerProblem p = cached_problem(25);
  const MultiHeadAttention layer = p.layer();
  KvCacheConfig config = cache_of(p.config);
  config.page_tokens = 32;
  config.window = 40;
  const AttentionOptions options{.mask = causal().windowed(40, 0)};
  // At length 104, appended by 20, the next token frees a page.
  for (const std::int64_t length : {0, 1, 32, 45, 104, 128}) {
    for (const std::int64_t count : {1, 33, 100}) {
      for (const bool fork : {false, true}) {
        CAPTURE(length);
        CAPTURE(count);
        CAPTURE(fork);
        KvCache cache(config);
        std::vector<std::int64_t> sequences{cache.add()};
        LayerStream stream(p, length + count, 26), again = stream;
        const std::vector<float> want = reference_layer(p, stream.x, stream.x, 1, options);
        feed(layer, cache, sequences[0], stream, 0, length, 20, options);
        if (fork) sequences.push_back(cache.fork(sequences[0]));
        const CacheSnapshot before(cache, sequences);
        for (const int tile : {0, 3}) {
          Thrower thrower{tile};
          AttentionOptions failing = options;
          failing.score_callback = thrower;
          CHECK_THROWS_AS(
              feed(layer, cache, sequences[0], again, length, length + count, count, failing),
              std::runtime_error);
          CHECK(before == CacheSnapshot(cache, sequences));
        }
        // The tokens before the window that a failed call would have freed are still there.
        if (length > 0) {
          cache.truncate(sequences[0], length - 1);
          feed(layer, cache, sequences[0], stream, length - 1, length, 1, options);
        }
        feed(layer, cache, sequences[0], stream, length, length + count, count, options);
        CHECK(same_bits(stream.y, want));
        if (fork) feed(layer, cache, sequences[1], stream, length, length + count, 1, options);
        CHECK(same_bits(stream.y, want));
        for (const std::int64_t sequence : sequences) cache.remove(sequence);
        CHECK(cache.usage().pages_used == 0);
      }
    }
  }
}

TEST_CASE("a layer call inside a score callback is refused, and its cache does not change") {
  Call outer, inner;
  std::string sentence;
  const auto callback = [&](const ScoreTile&) { sentence = inner.error(); };
  outer.options.score_callback = callback;
  CHECK(outer.error() == "");
  CHECK(sentence == "score_callback: calls attention itself");
}

}  // namespace
}  // namespace rapt::test
