// The layer's cross-attention over a cache has the bits of the layer over whole contexts.
#include "layer/cached_layer_call.hpp"
#include "layer/cached_layer_problem.hpp"
#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/arena.hpp"
#include "support/on_every_isa.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

/// 8 heads on 2 kv heads over states of 24 features; optionally QK-norm and RoPE.
LayerProblem context_problem(std::uint64_t seed, bool norm_and_rope, LayerSwitches switches = {}) {
  MultiHeadAttentionConfig config = config_of(40, 8, 2, 16, 20);
  config.kv_model_dim = 24;
  LayerProblem p = make_layer(seed, config, switches);
  if (norm_and_rope) add_norm_and_rope(p, seed + 50);
  return p;
}

/// Contexts of several sequences, and the queries of a call: one context is empty, one has fewer
/// tokens than queries.
struct ContextCall {
  explicit ContextCall(const LayerProblem& problem) : p(problem) {
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      contexts.push_back(tokens_of(60 + s, lengths[s] * p.config.kv_model_dim));
    }
  }

  std::int64_t all_rows() const { return rows.back() + 2; }

  /// Appends every context in two parts, each part for all sequences in one call.
  std::vector<std::int64_t> fill(const MultiHeadAttention& layer, KvCache& cache) const {
    std::vector<std::int64_t> sequences;
    for (std::size_t s = 0; s < lengths.size(); ++s) sequences.push_back(cache.add());
    const std::int64_t in = p.config.kv_model_dim;
    for (const bool first : {true, false}) {
      std::vector<float> packed;
      std::vector<std::int64_t> offsets{0};
      for (std::size_t s = 0; s < lengths.size(); ++s) {
        const std::int64_t half = lengths[s] / 3;
        const std::int64_t begin = first ? 0 : half, end = first ? half : lengths[s];
        packed.insert(packed.end(), contexts[s].begin() + begin * in,
                      contexts[s].begin() + end * in);
        offsets.push_back(offsets.back() + end - begin);
      }
      layer.append_context({packed.data(), {offsets.back(), in}}, cache, sequences, offsets);
    }
    return sequences;
  }

  /// The results of each sequence alone, without a cache; rows of no sequence are not written.
  std::vector<float> want(const std::vector<float>& x, const AttentionOptions& options) const {
    const std::int64_t in = p.config.model_dim, out = p.output_features();
    std::vector<float> y(static_cast<std::size_t>(all_rows() * out), -987.25f);
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      AttentionOptions own = options;
      if (!options.mask.query_offsets.empty()) {
        own.mask.query_offsets = options.mask.query_offsets.subspan(s, 1);
      }
      const std::vector<float> queries(x.begin() + rows[s] * in, x.begin() + rows[s + 1] * in);
      const std::vector<float> got = reference_layer(p, queries, contexts[s], 1, own);
      std::copy(got.begin(), got.end(), y.begin() + rows[s] * out);
    }
    return y;
  }

  const LayerProblem& p;
  const std::vector<std::int64_t> lengths{70, 300, 0, 4}, rows{3, 8, 9, 12, 21};
  std::vector<std::vector<float>> contexts;
};

TEST_CASE("queries over contexts in a cache have the bits of the layer without one") {
  const std::vector<std::int64_t> offsets{40, 0, 7, 2};
  const std::vector<float> slopes{0.5f, 0.25f, 0.125f, 0.0f, 1.0f, 0.5f, 0.25f, 0.1f};
  const std::vector<AttentionOptions> all{
      {},
      {.soft_cap = 20.0f, .alibi_slopes = slopes},
      {.mask = causal(3)},
      {.mask = causal_bottom_right().windowed(40, 0)},
      {.mask = causal(offsets).windowed(30, kNoWindow)},
      {.mask = Mask{.query_offset = 50}.windowed(20, 30)},
  };
  for (const bool norm_and_rope : {false, true}) {
    CAPTURE(norm_and_rope);
    const LayerProblem p = context_problem(81, norm_and_rope, {true, norm_and_rope});
    const MultiHeadAttention layer = p.layer();
    const ContextCall call(p);
    const std::int64_t in = p.config.model_dim, out = p.output_features();
    std::vector<float> x = nans(call.all_rows() * in);
    const std::vector<float> tokens = tokens_of(83, (call.rows.back() - 3) * in);
    std::copy(tokens.begin(), tokens.end(), x.begin() + 3 * in);
    for (std::size_t o = 0; o < all.size(); ++o) {
      CAPTURE(o);
      // Positions before key 0 have no angle.
      if (norm_and_rope && all[o].mask.align == Mask::Align::bottom_right) continue;
      const std::vector<float> want = call.want(x, all[o]);
      on_every_isa([&] {
        KvCache cache(cache_of(p.config));
        const std::vector<std::int64_t> sequences = call.fill(layer, cache);
        for (const int threads : {1, 2}) {
          std::vector<float> y(want.size(), -987.25f);
          in_arena(threads, [&] {
            layer.cross_forward({x.data(), {call.all_rows(), in}}, cache,
                                {.sequences = sequences, .rows = call.rows},
                                {y.data(), {call.all_rows(), out}}, all[o]);
            return 0;
          });
          CHECK(same_bits(y, want));
        }
        for (std::size_t s = 0; s < sequences.size(); ++s) {
          CHECK(cache.length(sequences[s]) == call.lengths[s]);
        }
      });
    }
  }
}

TEST_CASE("beams over one context, by repeated number or by forks, have the bits of one call") {
  const LayerProblem p = context_problem(85, true);
  const MultiHeadAttention layer = p.layer();
  const std::int64_t in = p.config.model_dim, out = p.output_features();
  const std::vector<float> context = tokens_of(86, 600 * p.config.kv_model_dim);
  const std::vector<float> x = tokens_of(87, 4 * in);
  const std::vector<std::int64_t> whole{0, 600}, rows{0, 1, 2, 3, 4};
  std::vector<float> want;
  for (std::int64_t row = 0; row < 4; ++row) {
    const std::vector<float> one(x.begin() + row * in, x.begin() + (row + 1) * in);
    const std::vector<float> y = reference_layer(p, one, context, 1);
    want.insert(want.end(), y.begin(), y.end());
  }
  on_every_isa([&] {
    KvCache cache(cache_of(p.config));
    const std::int64_t first = cache.add(), fork_of = 1;
    layer.append_context({context.data(), {600, p.config.kv_model_dim}}, cache, {&first, 1}, whole);
    std::vector<std::int64_t> named(4, first), forks{first};
    for (std::int64_t f = 0; f < 3; ++f) forks.push_back(cache.fork(first));
    CHECK(forks[fork_of] != first);
    for (const auto& sequences : {named, forks}) {
      std::vector<float> y = nans(4 * out);
      layer.cross_forward({x.data(), {4, in}}, cache, {sequences, rows}, {y.data(), {4, out}});
      CHECK(same_bits(y, want));
    }
  });
}

struct Call : CachedLayerCall {
  Call() : CachedLayerCall(context_problem(91, true)) {}

  void append() { layer.append_context(context, cache, sequences, rows); }
  std::string append_error() {
    const CacheSnapshot before = snapshot();
    const std::string sentence = sentence_of([this] { append(); });
    CHECK((snapshot() == before) == !sentence.empty());
    return sentence;
  }
  std::string forward_error() {
    return error_of([this] { layer.cross_forward(x, cache, {sequences, rows}, y, options); });
  }

  TensorView<const float, 2> context{memory.data(), {6, 24}};
};

std::string append_spoilt(const std::function<void(Call&)>& change) {
  Call call;
  change(call);
  return call.append_error();
}

std::string forward_spoilt(const std::function<void(Call&)>& change) {
  Call call;
  REQUIRE(call.append_error() == "");
  change(call);
  return call.forward_error();
}

TEST_CASE("contexts that do not fit are refused, and the cache does not change") {
  CHECK(append_spoilt([](Call&) {}) == "");
  CHECK(append_spoilt([](Call& c) { c.context.shape[1] = 23; }) ==
        "context: features 23 does not match the layer's kv_model_dim 24");
  CHECK(append_spoilt([](Call& c) { c.sequences[1] = 77; }) == "sequence: 77 is not in the cache");
  CHECK(append_spoilt([](Call& c) { c.sequences[1] = c.sequences[0]; }) ==
        "sequences: 0 is named twice");
  CHECK(append_spoilt([](Call& c) {
          c.rows = {0, 6};
        }) == "rows: offsets 2 does not match sequences + 1 = 3");
  CHECK(append_spoilt([](Call& c) { c.rows[2] = 7; }) ==
        "rows: offset 7 at 2 is not within 5 and the 6 rows");
  CHECK(append_spoilt([](Call& c) { c.use_cache({.kv_heads = 2, .head_dim = 16}); }) ==
        "cache: value_dim 16 does not match the layer's value_dim 20");
  CHECK(append_spoilt([](Call& c) { c.use_four_positions(); }) ==
        "context: 5 rows behind the 0 tokens of sequence 0 would pass the 4 positions of the "
        "layer's RoPE");
}

TEST_CASE("a cache too full for a context does not change") {
  Call c;
  KvCacheConfig config = cache_of(c.problem.config);
  config.max_pages = 1;
  c.use_cache(config);
  CHECK(sentence_of([&] { c.append(); }, ErrorCode::cache_full) != "");
  CHECK(c.cache.usage().pages_used == 0);
  for (const std::int64_t sequence : c.sequences) CHECK(c.cache.length(sequence) == 0);
}

TEST_CASE("queries and options that do not fit a context in a cache are refused by name") {
  const std::vector<std::int64_t> positions{0, 1, 2, 3, 4, 5};
  const TensorView<const std::int64_t, 2> view(positions.data(), {1, 6});
  CHECK(forward_spoilt([](Call&) {}) == "");
  CHECK(forward_spoilt([&](Call& c) { c.options.rope.q_positions = view; }) == "");
  CHECK(forward_spoilt([](Call& c) { c.x.shape[1] = 39; }) ==
        "x: features 39 does not match the layer's model_dim 40");
  CHECK(forward_spoilt([](Call& c) { c.y.shape[0] = 5; }) == "y: rows 5 does not match x's rows 6");
  CHECK(forward_spoilt([](Call& c) { c.y.data = c.memory.data() + 239; }) == "y: overlaps x");
  CHECK(forward_spoilt([](Call& c) { c.sequences[1] = 77; }) == "sequence: 77 is not in the cache");
  CHECK(forward_spoilt([](Call& c) {
          c.rows = {0, 6};
        }) == "queries.rows: offsets 2 does not match queries.sequences + 1 = 3");
  CHECK(forward_spoilt([&](Call& c) { c.options.rope.k_positions = view; }) ==
        "rope: positions cannot be given with a cache, which knows them");
  CHECK(forward_spoilt([](Call& c) { c.options.qk_norm = QkNorm{}; }) ==
        "qk_norm: belongs in the layer's configuration when there is a cache");
  CHECK(forward_spoilt([](Call& c) { c.options.kv_lens = c.rows; }).find("kv_lens: 3") == 0);
  CHECK(forward_spoilt([](Call& c) { c.options.mask = causal(c.rows); }) ==
        "mask.query_offsets: offsets 3 does not match queries.sequences 2");
  CHECK(forward_spoilt([](Call& c) { c.options.mask = causal(-3); }).find("rope: query position") ==
        0);
}

}  // namespace
}  // namespace rapt::test
