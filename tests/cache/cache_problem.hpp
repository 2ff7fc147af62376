// A stream of tokens for a cache: its queries, keys and values, and the results of attention() over
// them in one tensor.
#pragma once

#include "rapt/attention.hpp"
#include "rapt/kv_cache.hpp"
#include "support/problems.hpp"

#include <cstdint>
#include <vector>

namespace rapt::test {

struct Stream {
  std::int64_t heads = 4, kv_heads = 2, tokens = 1, head_dim = 20, value_dim = 35;
  std::uint64_t seed = 1;
};

/// q [heads, tokens, head_dim] etc., dense.
struct StreamTokens {
  explicit StreamTokens(const Stream& stream_)
      : stream(stream_),
        q(values(stream.heads * stream.head_dim, 1)),
        k(values(stream.kv_heads * stream.head_dim, 2)),
        v(values(stream.kv_heads * stream.value_dim, 3)) {}

  std::vector<float> values(std::int64_t width, std::uint64_t which) const {
    return normal_floats(static_cast<std::size_t>(stream.tokens * width), stream.seed * 10 + which);
  }

  /// [count, kv_heads, head_dim]; values likewise.
  TensorView<const float, 3> keys(std::int64_t first, std::int64_t count) const {
    return TensorView<const float, 3>(k.data(), {stream.kv_heads, stream.tokens, stream.head_dim})
        .sliced(1, first, count)
        .swapped(0, 1);
  }
  TensorView<const float, 3> values_of(std::int64_t first, std::int64_t count) const {
    return TensorView<const float, 3>(v.data(), {stream.kv_heads, stream.tokens, stream.value_dim})
        .sliced(1, first, count)
        .swapped(0, 1);
  }
  /// Packed rows [count, heads, head_dim].
  TensorView<const float, 3> queries(std::int64_t first, std::int64_t count) const {
    return TensorView<const float, 3>(q.data(), {stream.heads, stream.tokens, stream.head_dim})
        .sliced(1, first, count)
        .swapped(0, 1);
  }

  Stream stream;
  std::vector<float> q, k, v;
};

/// out [heads, tokens, value_dim] and lse [heads, tokens], filled with a value that no result has.
struct StreamOutputs {
  explicit StreamOutputs(const Stream& stream_)
      : stream(stream_),
        out(static_cast<std::size_t>(stream.heads * stream.tokens * stream.value_dim), -987.25f),
        lse(static_cast<std::size_t>(stream.heads * stream.tokens), -987.25f) {}

  TensorView<float, 3> rows(std::int64_t first, std::int64_t count) {
    return TensorView<float, 3>(out.data(), {stream.heads, stream.tokens, stream.value_dim})
        .sliced(1, first, count)
        .swapped(0, 1);
  }
  /// [1, heads, count]
  TensorView<float, 3> sums(std::int64_t first, std::int64_t count) {
    return TensorView<float, 3>(lse.data(), {1, stream.heads, stream.tokens})
        .sliced(2, first, count);
  }
  bool operator==(const StreamOutputs& other) const {
    return same_bits(out, other.out) && same_bits(lse, other.lse);
  }

  Stream stream;
  std::vector<float> out, lse;
};

/// All tokens in one call, keys and values in one tensor.
inline StreamOutputs in_one_tensor(AttentionFunction& function, const StreamTokens& tokens,
                                   AttentionOptions options) {
  const Stream& s = tokens.stream;
  StreamOutputs outputs(s);
  options.lse = outputs.sums(0, s.tokens);
  function({tokens.q.data(), {1, s.heads, s.tokens, s.head_dim}},
           {tokens.k.data(), {1, s.kv_heads, s.tokens, s.head_dim}},
           {tokens.v.data(), {1, s.kv_heads, s.tokens, s.value_dim}},
           {outputs.out.data(), {1, s.heads, s.tokens, s.value_dim}}, options);
  return outputs;
}

/// Small pages, so that short sequences have several.
inline KvCacheConfig config_of(const Stream& stream) {
  return {.kv_heads = stream.kv_heads,
          .head_dim = stream.head_dim,
          .value_dim = stream.value_dim,
          .page_tokens = 64};
}

/// Attention of the last `count` tokens of the sequence, which start at `first`.
inline void attend_last(const KvCache& cache, std::int64_t sequence, const StreamTokens& tokens,
                        std::int64_t first, std::int64_t count, AttentionOptions options,
                        StreamOutputs& outputs) {
  const std::int64_t rows[] = {0, count};
  options.lse = outputs.sums(first, count);
  attention(tokens.queries(first, count), cache, {.sequences = {&sequence, 1}, .rows = rows},
            outputs.rows(first, count), options);
}

/// Appends tokens [first, last) in chunks, each followed by its attention.
inline void feed(KvCache& cache, std::int64_t sequence, const StreamTokens& tokens,
                 std::int64_t first, std::int64_t last, std::int64_t chunk,
                 const AttentionOptions& options, StreamOutputs& outputs) {
  for (; first < last; first += chunk) {
    const std::int64_t count = std::min(chunk, last - first);
    cache.append(sequence, tokens.keys(first, count), tokens.values_of(first, count));
    attend_last(cache, sequence, tokens, first, count, options, outputs);
  }
}

}  // namespace rapt::test
