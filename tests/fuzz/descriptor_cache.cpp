// The cache, attention over it, and the layer with and without one.
#include "fuzz/descriptor_functions.hpp"
#include "fuzz/descriptor_options.hpp"
#include "rapt/rapt.hpp"

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

namespace rapt::test {
namespace {

/// A cache with sequences, some of them forked or empty, and the arguments of a call over it.
struct CacheCall {
  CacheCall(Draws& d, const KvCacheConfig& config, std::int64_t count) : cache(config) {
    for (std::int64_t s = 0; s < count; ++s) {
      if (s > 0 && d.one_in(3)) {
        sequences.push_back(cache.fork(sequences.front()));
      } else {
        sequences.push_back(cache.add());
        const std::int64_t tokens = d.below(40);
        longest = std::max(longest, tokens);
        cache.append(sequences.back(),
                     {memory_of<float>(), Extents3{tokens, config.kv_heads, config.head_dim}},
                     {memory_of<float>(), Extents3{tokens, config.kv_heads, config.value_dim}});
      }
    }
  }

  std::span<const std::int64_t> named(Draws& d) const {
    std::size_t i = 0;
    return d.numbers(std::ssize(sequences),
                     [&] { return d.number(i < sequences.size() ? sequences[i++] : 0); });
  }

  KvCache cache;
  std::vector<std::int64_t> sequences;
  std::int64_t longest = 0;
};

KvCacheConfig small_cache(std::int64_t kv_heads, std::int64_t head_dim, std::int64_t value_dim,
                          Draws& d) {
  return {.kv_heads = kv_heads,
          .head_dim = head_dim,
          .value_dim = value_dim,
          .page_tokens = 32,
          .window = d.one_in(4) ? d.below(40) : kNoWindow};
}

void call_over_cache(Draws& d, bool crossed) {
  Sizes s(d);
  s.kv_heads = std::max<std::int64_t>(s.kv_heads, 1);
  s.value_dim = std::max<std::int64_t>(s.value_dim, 1);
  const CacheCall call(d, small_cache(s.kv_heads, s.head_dim, s.value_dim, d), s.batch);
  const AttentionOptions options = draw_options(
      d, {1, s.batch, s.heads, s.kv_heads, s.q_len, call.longest, 0, s.head_dim, s.value_dim},
      crossed);
  const TensorView<const void, 3> q =
      d.elements<const void>(Extents3{s.q_len, s.heads, s.head_dim});
  const TensorView<void, 3> out = d.elements<void>(Extents3{s.q_len, s.heads, s.value_dim});
  const CacheQueries queries{call.named(d), d.offsets(s.batch, s.q_len)};
  if (crossed) {
    cross_attention(q, call.cache, queries, out, options);
  } else if (d.one_in(4)) {
    attention(q, call.cache, d.number(call.sequences.empty() ? 0 : call.sequences.front()), out,
              options);
  } else {
    attention(q, call.cache, queries, out, options);
  }
}

/// A configuration and its weights, usually of matching sizes.
struct LayerSizes {
  explicit LayerSizes(Draws& d)
      : kv_heads(1 + d.below(2)),
        heads(kv_heads * (1 + d.below(2))),
        head_dim(2 * (1 + d.below(3))),
        model_dim(heads * head_dim),
        has_output(d.one_in(2)) {}
  std::int64_t kv_heads, heads, head_dim, model_dim;
  bool has_output;
};

MultiHeadAttention draw_layer(Draws& d, const LayerSizes& s) {
  MultiHeadAttentionConfig config{.model_dim = d.count(s.model_dim),
                                  .num_heads = d.count(s.heads),
                                  .num_kv_heads = d.count(s.kv_heads),
                                  .head_dim = d.count(s.head_dim),
                                  .value_dim = d.count(0),
                                  .kv_model_dim = d.count(0),
                                  .output_dim = d.count(0)};
  if (d.one_in(4)) config.softmax_scale = d.real(0.5f);
  if (d.one_in(4)) config.qk_norm_epsilon = d.real(1e-6f);
  if (d.one_in(4)) config.rope = draw_table(d, s.head_dim);
  const auto projection = [&](std::int64_t out) {
    return Linear(d.view<const float>(Extents2{out, s.model_dim}));
  };
  const Linear output = s.has_output ? projection(s.model_dim) : Linear();
  if (d.one_in(4)) {
    const std::int64_t rows = (s.heads + 2 * s.kv_heads) * s.head_dim;
    return {config, MultiHeadAttentionWeights::from_fused(
                        config, d.one_of({FusedRows::q_k_v, FusedRows::by_kv_head}),
                        d.view<const float>(Extents2{rows, s.model_dim}),
                        d.span<float>(d.one_in(2) ? 0 : rows), output)};
  }
  return {config,
          {projection(s.heads * s.head_dim), projection(s.kv_heads * s.head_dim),
           projection(s.kv_heads * s.head_dim), output}};
}

}  // namespace

void call_cached(Draws& d) { call_over_cache(d, false); }
void call_crossed(Draws& d) { call_over_cache(d, true); }

void call_cache(Draws& d) {
  const std::int64_t kv_heads = 1 + d.below(2), head_dim = 1 + d.below(5);
  KvCacheConfig config{.kv_heads = d.number(kv_heads),
                       .head_dim = d.number(head_dim),
                       .value_dim = d.number(d.one_in(2) ? 0 : head_dim),
                       .page_tokens = d.number(32),
                       .max_pages = d.number(d.one_in(2) ? 0 : 3),
                       .window = d.number(d.one_in(2) ? kNoWindow : d.below(40))};
  KvCache cache(config);
  const std::int64_t first = cache.add(), second = d.one_in(2) ? cache.fork(first) : cache.add();
  for (std::int64_t step = d.below(5); step > 0; --step) {
    const std::int64_t sequence = d.number(d.one_in(2) ? first : second);
    const std::int64_t tokens = d.below(50);
    auto k = d.view<const float>(Extents3{tokens, kv_heads, head_dim});
    auto v = d.view<const float>(Extents3{tokens, kv_heads, head_dim});
    if (d.wrong()) {  // one token, repeated
      k.shape[0] = v.shape[0] = d.extreme_count();
      k.strides[0] = v.strides[0] = 0;
    }
    switch (d.below(6)) {
      case 0:
        cache.truncate(sequence, d.number(d.below(cache.length(first) + 1)));
        break;
      case 1:
        cache.reserve(d.number(d.below(3)));
        break;
      case 2: {
        const auto sequences = d.numbers(
            2, [&, named = first]() mutable { return d.number(std::exchange(named, second)); });
        cache.append(sequences, d.offsets(2, tokens), k, v);
        break;
      }
      default:
        cache.append(sequence, k, v);
    }
  }
  cache.first_token(d.number(first));
  cache.length(d.number(second));
  if (cache.usage().pages_used < 0) throw WrongResult{"pages_used is below 0"};
  if (d.one_in(2)) cache.remove(d.number(first));
  if (d.one_in(2)) cache.clear();
}

void call_layer(Draws& d) {
  const LayerSizes s(d);
  const MultiHeadAttention layer = draw_layer(d, s);
  const std::int64_t batch = d.below(3), tokens = d.below(5), keys = d.below(5);
  const Extents3 rows{batch, tokens, s.model_dim};
  const bool crossed = d.one_in(2);
  AttentionOptions options =
      draw_options(d, {batch, batch, s.heads, s.kv_heads, tokens, crossed ? keys : tokens,
                       crossed ? keys : tokens, s.head_dim, s.head_dim});
  if (d.one_in(8)) options.kv_lens = d.numbers(batch, [&] { return d.number(0); });
  const TensorView<const float, 3> x = d.view<const float>(rows);
  const TensorView<float, 3> y = d.view<float>(rows);
  if (crossed) {
    layer.forward(x, d.view<const float>(Extents3{batch, keys, s.model_dim}), y, options);
  } else {
    layer.forward(x, y, options);
  }
}

void call_cached_layer(Draws& d) {
  const LayerSizes s(d);
  const MultiHeadAttention layer = draw_layer(d, s);
  const std::int64_t sequences = d.below(4), rows = d.below(6);
  CacheCall call(d, small_cache(d.count(s.kv_heads), s.head_dim, s.head_dim, d), sequences);
  const auto named = call.named(d);
  const auto offsets = d.offsets(sequences, rows);
  const Extents2 extents{rows, s.model_dim};
  if (d.one_in(3)) {
    layer.append_context(d.view<const float>(extents), call.cache, named, offsets);
    return;
  }
  const bool crossed = d.one_in(2);
  AttentionOptions options = draw_options(
      d, {1, sequences, s.heads, s.kv_heads, rows, call.longest, 0, s.head_dim, s.head_dim},
      crossed);
  if (!d.wrong()) options.qk_norm.reset();
  if (!d.wrong()) options.rope = {};
  const TensorView<const float, 2> x = d.view<const float>(extents);
  const TensorView<float, 2> y = d.view<float>(extents);
  if (crossed) {
    layer.cross_forward(x, call.cache, {named, offsets}, y, options);
  } else {
    layer.forward(x, call.cache, {named, offsets}, y, options);
  }
}

}  // namespace rapt::test
