// The layer over a cache has the bits of the layer over whole sequences, however tokens are divided
// among calls.
#include "layer/cached_layer_problem.hpp"
#include "layer/layer_bounds.hpp"
#include "rapt/rapt.hpp"
#include "support/arena.hpp"
#include "support/on_every_isa.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

namespace rapt::test {
namespace {

std::vector<float> through_cache(const MultiHeadAttention& layer, const KvCacheConfig& config,
                                 LayerStream stream, std::int64_t chunk,
                                 const AttentionOptions& options) {
  KvCache cache(config);
  const std::int64_t sequence = cache.add();
  feed(layer, cache, sequence, stream, 0, stream.tokens, chunk, options);
  CHECK(cache.length(sequence) == stream.tokens);
  return stream.y;
}

TEST_CASE("decoding, chunks and whole prefill of the layer have the bits of one forward()") {
  for (const bool has_output : {true, false}) {
    CAPTURE(has_output);
    const LayerProblem p = cached_problem(1, {.bias = true, .output = has_output});
    const MultiHeadAttention layer = fused_layer(p, FusedRows::by_kv_head);
    const LayerStream stream(p, quick() ? 270 : 600, 2);
    const AttentionOptions options{.mask = causal(), .soft_cap = 20.0f};
    const std::vector<float> want = reference_layer(p, stream.x, stream.x, 1, options);
    on_every_isa([&] {
      CHECK(same_bits(run_self(p, stream.x, 1, options), want));
      for (const std::int64_t chunk :
           {std::int64_t{1}, std::int64_t{7}, std::int64_t{64}, stream.tokens}) {
        CAPTURE(chunk);
        CHECK(same_bits(through_cache(layer, cache_of(p.config), stream, chunk, options), want));
      }
    });
  }
}

TEST_CASE("the layer over a cache keeps its bound against float64, with norm and RoPE") {
  const LayerProblem p = cached_problem(17);
  LayerStream stream(p, quick() ? 60 : 290, 18);
  const Estimate exact = estimate_layer(p, stream.x, true);
  double most = 0.0;
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    KvCache cache(cache_of(p.config));
    feed(p.layer(), cache, cache.add(), stream, 0, stream.tokens, 31, {.mask = causal()});
    for (std::size_t i = 0; i < stream.y.size(); ++i) {
      const double off = std::abs(double{stream.y[i]} - exact.value[i]);
      most = std::max(most, off / exact.deviation[i]);
    }
  }
  CHECK(most <= kDeviations);
}

TEST_CASE("a window frees pages before the layer's tokens, and changes no bit") {
  const LayerProblem p = cached_problem(3);
  const LayerStream stream(p, 330, 4);
  const AttentionOptions options{.mask = causal().windowed(70, 0)};
  const std::vector<float> want = reference_layer(p, stream.x, stream.x, 1, options);
  KvCacheConfig config = cache_of(p.config);
  config.page_tokens = 32;
  config.window = 70;
  config.max_pages = 4 + 1;  // at most 4 pages for 70 + 1 keys, plus one before any page is freed
  on_every_isa([&] {
    KvCache cache(config);
    const std::int64_t sequence = cache.add();
    LayerStream got = stream;
    feed(p.layer(), cache, sequence, got, 0, 330, 1, options);
    CHECK(same_bits(got.y, want));
    CHECK(cache.first_token(sequence) == (329 - 70) / 32 * 32);
    CHECK(cache.usage().pages_used <= 4);
  });
}

TEST_CASE("a layer without norm and RoPE, with one kv head, works over a cache") {
  const LayerProblem p = make_layer(5, config_of(24, 3, 1, 7, 9), {.bias = false});
  const LayerStream stream(p, 70, 6);
  const AttentionOptions options{.mask = causal()};
  const std::vector<float> want = reference_layer(p, stream.x, stream.x, 1, options);
  on_every_isa([&] {
    CHECK(same_bits(through_cache(p.layer(), cache_of(p.config), stream, 9, options), want));
  });
}

TEST_CASE("prefill, chunks and decode rows in one call have the bits that each has alone") {
  constexpr std::int64_t kCount = 5;
  const std::int64_t before[kCount] = {0, 200, 30, 64, 0}, rows_of[kCount] = {140, 1, 0, 33, 1};
  const LayerProblem p = cached_problem(7);
  const MultiHeadAttention layer = p.layer();
  const AttentionOptions options{.mask = causal()};
  std::vector<LayerStream> streams;
  std::vector<std::vector<float>> want;
  std::vector<std::int64_t> rows{3};  // the first 3 and the last 2 rows belong to no sequence
  for (std::int64_t s = 0; s < kCount; ++s) {
    streams.emplace_back(p, before[s] + rows_of[s], 8 + static_cast<std::uint64_t>(s));
    want.push_back(reference_layer(p, streams.back().x, streams.back().x, 1, options));
    rows.push_back(rows.back() + rows_of[s]);
  }
  const std::int64_t all = rows.back() + 2, in = p.config.model_dim, out = p.output_features();
  on_every_isa([&] {
    KvCache cache(cache_of(p.config));
    std::vector<std::int64_t> sequences;
    std::vector<float> x = nans(all * in), y(static_cast<std::size_t>(all * out), -987.25f);
    std::vector<float> wanted = y;
    for (std::size_t s = 0; s < kCount; ++s) {
      sequences.push_back(cache.add());
      feed(layer, cache, sequences[s], streams[s], 0, before[s], 50, options);
      std::copy(streams[s].x.begin() + before[s] * in, streams[s].x.end(),
                x.begin() + rows[s] * in);
      std::copy(want[s].begin() + before[s] * out, want[s].end(), wanted.begin() + rows[s] * out);
    }
    layer.forward({x.data(), {all, in}}, cache, {.sequences = sequences, .rows = rows},
                  {y.data(), {all, out}}, options);
    CHECK(same_bits(y, wanted));
    for (std::size_t s = 0; s < kCount; ++s) {
      CHECK(cache.length(sequences[s]) == before[s] + rows_of[s]);
    }
  });
}

TEST_CASE("rows with gaps are read and written correctly") {
  const LayerProblem p = cached_problem(9);
  const LayerStream stream(p, 20, 10);
  const AttentionOptions options{.mask = causal()};
  const std::vector<float> want = reference_layer(p, stream.x, stream.x, 1, options);
  const std::int64_t in = stream.in, out = stream.out;
  std::vector<float> x = nans(20 * 2 * in), y = nans(20 * 2 * out), wanted = y;
  for (std::int64_t t = 0; t < 20; ++t) {
    std::copy_n(stream.x.begin() + t * in, in, x.begin() + t * 2 * in);
    std::copy_n(want.begin() + t * out, out, wanted.begin() + t * 2 * out);
  }
  KvCache cache(cache_of(p.config));
  const std::int64_t sequences[] = {cache.add()}, rows[] = {0, 20};
  p.layer().forward({x.data(), {20, in}, {2 * in, 1}}, cache, {sequences, rows},
                    {y.data(), {20, out}, {2 * out, 1}}, options);
  CHECK(same_bits(y, wanted));
}

TEST_CASE("forked and rolled back sequences have the bits of uninterrupted ones") {
  const LayerProblem p = cached_problem(11);
  const MultiHeadAttention layer = p.layer();
  const AttentionOptions options{.mask = causal()};
  LayerStream stream(p, 150, 12), other(p, 150, 13);
  std::copy(stream.x.begin(), stream.x.begin() + 100 * stream.in, other.x.begin());
  const std::vector<float> want = reference_layer(p, stream.x, stream.x, 1, options);
  const std::vector<float> want_other = reference_layer(p, other.x, other.x, 1, options);
  KvCache cache(cache_of(p.config));
  const std::int64_t parent = cache.add();
  feed(layer, cache, parent, stream, 0, 100, 30, options);
  const std::int64_t child = cache.fork(parent);
  other.y = stream.y;
  feed(layer, cache, child, other, 100, 150, 11, options);
  feed(layer, cache, parent, stream, 100, 130, 30, options);
  cache.truncate(parent, 90);
  feed(layer, cache, parent, stream, 90, 150, 25, options);
  CHECK(same_bits(stream.y, want));
  CHECK(same_bits(other.y, want_other));
}

TEST_CASE("threads may use one layer and one cache for different sequences at once") {
  const LayerProblem p = cached_problem(19);
  const MultiHeadAttention layer = p.layer();
  const AttentionOptions options{.mask = causal()};
  const LayerStream stream(p, 120, 20);
  const std::vector<float> want = reference_layer(p, stream.x, stream.x, 1, options);
  KvCache cache(cache_of(p.config));
  const std::int64_t shared = cache.add();
  std::vector<LayerStream> got(6, stream);
  feed(layer, cache, shared, got[0], 0, 90, 90, options);
  for (std::size_t t = 1; t < got.size(); ++t) got[t].y = got[0].y;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < got.size(); ++t) {
    threads.emplace_back([&, t] {
      const std::int64_t own = cache.fork(shared);
      feed(layer, cache, own, got[t], 90, 120, 1 + static_cast<std::int64_t>(t), options);
      cache.remove(own);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const LayerStream& one : got) CHECK(same_bits(one.y, want));
  CHECK(cache.usage().pages_used == 2);
  cache.remove(shared);
  CHECK(cache.usage().pages_used == 0);
}

TEST_CASE("calls without sequences or rows are valid and change nothing") {
  const LayerProblem p = cached_problem(15);
  KvCache cache(cache_of(p.config));
  const std::int64_t none[] = {0}, no_rows[] = {0, 0};
  const std::int64_t sequence = cache.add();
  p.layer().forward({nullptr, DType::f32, {0, 40}}, cache, {.sequences = {}, .rows = none},
                    {nullptr, DType::f32, {0, 40}});
  p.layer().forward({nullptr, DType::f32, {0, 40}}, cache,
                    {.sequences = {&sequence, 1}, .rows = no_rows}, {nullptr, DType::f32, {0, 40}});
  CHECK(cache.length(sequence) == 0);
  CHECK(cache.usage().pages_used == 0);
}

}  // namespace
}  // namespace rapt::test
