// Numbers at the limits of their types, each of which once overflowed, hung or was accepted.
#include "rapt/rapt.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMinInt = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kOne = 1;

bool says(const std::string& sentence, const char* words) {
  CAPTURE(sentence);
  return sentence.find(words) != std::string::npos;
}

/// A token of 1 head with 4 components, repeated.
TensorView<const float, 3> repeated(const std::vector<float>& token, std::int64_t tokens) {
  return {token.data(), {tokens, 1, 4}, {0, 0, 1}};
}

}  // namespace

TEST_CASE("more tokens than the budget are cache_full, however many") {
  const std::vector<float> token(4, 0.5f);
  for (const std::int64_t max_pages : {std::int64_t{4}, kMaxInt / 64}) {
    KvCache cache({.kv_heads = 1, .head_dim = 4, .page_tokens = 32, .max_pages = max_pages});
    const std::int64_t sequence = cache.add();
    cache.append(sequence, repeated(token, 33), repeated(token, 33));
    for (const std::int64_t tokens : {kOne << 44, kMaxInt - 33, kMaxInt}) {
      if (tokens / 32 <= max_pages) continue;
      const auto append = [&] {
        cache.append(sequence, repeated(token, tokens), repeated(token, tokens));
      };
      CHECK(says(sentence_of(append, ErrorCode::cache_full), "cache: no room for"));
      CHECK(cache.length(sequence) == 33);
      CHECK(cache.usage().pages_used == 2);
    }
    cache.append(sequence, repeated(token, 1), repeated(token, 1));
    CHECK(cache.length(sequence) == 34);
  }
}

TEST_CASE("the largest possible page budget is accepted") {
  KvCache cache({.kv_heads = 1, .head_dim = 4, .page_tokens = 32, .max_pages = kMaxInt});
  cache.reserve(2);
  const std::vector<float> token(4, 0.5f);
  cache.append(cache.add(), repeated(token, 40), repeated(token, 40));
  CHECK(cache.usage().pages_used == 2);
}

TEST_CASE("pages whose token count overflows products hold the tokens that exist") {
  const std::int64_t page_size = (kOne << 62) + 1;
  std::vector<float> row(4, 0.5f), out(8, 7.0f);
  const TensorView<const float, 4> page(row.data(), {1, page_size, 1, 4}, {0, 0, 0, 1});
  const std::vector<std::int32_t> table{0, 0};
  const std::vector<std::int64_t> rows{0, 1, 2};
  const auto attend = [&](const std::vector<std::int64_t>& lens) {
    attention({row.data(), {2, 1, 4}, {0, 4, 1}},
              {.k = page, .v = page, .table = {{table.data(), {2, 1}}}, .kv_lens = lens}, rows,
              {out.data(), {2, 1, 4}});
  };
  attend({3, 300});
  CHECK(out == std::vector<float>(8, 0.5f));
  CHECK(says(sentence_of([&] {
               attend({3, (kOne << 40) + 1});
             }),
             "pages.kv_lens: length 1099511627777 of sequence 1 is above the limit of 2^40"));
}

TEST_CASE("tensors larger than the address space are refused before they are read") {
  std::vector<float> floats(64, 0.5f), out(64, 7.0f);
  const TensorView<const float, 4> q(floats.data(), {1, 1, 2, 4});
  const TensorView<float, 4> to(out.data(), {1, 1, 2, 4});
  const TensorView<const float, 4> far(floats.data(), {1, 1, 2, 4}, {0, 0, kOne << 59, 1});
  CHECK(says(sentence_of([&] { attention(q, far, q, to); }),
             "k: shape and strides reach beyond all memory"));
  for (const std::int64_t extent : {kMinInt, kMaxInt}) {
    for (const std::int64_t stride : {kMinInt, kMaxInt}) {
      const TensorView<const float, 2> table(floats.data(), {extent, 2}, {stride, 1});
      const auto attend = [&] {
        attention(q, q, q, to, {.rope = {.table = {Rope::half, table, table}}});
      };
      CHECK(says(sentence_of(attend), "rope.cos: "));
      const auto scores = [&] {
        attention(q, q, q, to,
                  {.bias = {floats.data(), {extent, 1, 1, 1}, {stride, stride, stride, stride}}});
      };
      CHECK(says(sentence_of(scores), "bias: "));
    }
  }
  CHECK(out == std::vector<float>(64, 7.0f));
}

TEST_CASE("no address is formed after the end of a single row") {
  std::vector<float> floats(64, 0.5f), out(64, 7.0f);
  const Linear square({floats.data(), {4, 4}});
  const MultiHeadAttention layer({.model_dim = 4, .num_heads = 1},
                                 {square, square, square, square});
  KvCache cache({.kv_heads = 1, .head_dim = 4});
  const std::vector<std::int64_t> sequences{cache.add()}, rows{1, 1};
  for (const std::int64_t stride : {kMaxInt, kMinInt}) {
    const TensorView<const float, 2> x(floats.data(), {1, 4}, {stride, 1});
    const TensorView<float, 2> y(out.data(), {1, 4}, {stride, 1});
    layer.forward(x, cache, {sequences, rows}, y);
    layer.append_context(x, cache, sequences, rows);
    layer.cross_forward(x, cache, {sequences, rows}, y);
    const TensorView<const float, 3> q(floats.data(), {1, 1, 4}, {stride, stride, 1});
    attention(q, q, q, {out.data(), {1, 1, 4}, {stride, stride, 1}}, {rows, rows});
  }
  CHECK(out == std::vector<float>(64, 7.0f));
}

TEST_CASE("the stride of a single row may be anything and is not multiplied") {
  std::vector<float> floats(64, 0.5f), out(64, 7.0f);
  for (const std::int64_t stride : {kMaxInt, kMinInt, (kOne << 62) + 1}) {
    const TensorView<const float, 4> q(floats.data(), {1, 1, 1, 4}, {stride, stride, stride, 1});
    attention(q, q, q, {out.data(), {1, 1, 1, 4}, {stride, stride, stride, 1}});
    attention(q, {floats.data(), {1, 1, 8, 4}}, {floats.data(), {1, 1, 8, 4}},
              {out.data(), {1, 1, 1, 4}, {stride, stride, stride, 1}});
    CHECK(out[0] == 0.5f);
  }
}

TEST_CASE("windows at the limits of int64 are refused over a cache too") {
  std::vector<float> floats(64, 0.5f), out(64, 7.0f);
  KvCache cache({.kv_heads = 1, .head_dim = 4});
  const std::vector<std::int64_t> sequences{cache.add()}, rows{0, 1};
  cache.append(sequences[0], repeated(floats, 3), repeated(floats, 3));
  for (const Mask& mask : {Mask().windowed(kMinInt, 0), Mask().windowed(0, kMinInt)}) {
    const auto attend = [&] {
      attention({floats.data(), {1, 1, 4}}, cache, {sequences, rows}, {out.data(), {1, 1, 4}},
                {.mask = mask});
    };
    CHECK(says(sentence_of(attend), " -9223372036854775808 is neither a number of keys nor"));
  }
  CHECK(out == std::vector<float>(64, 7.0f));
}

TEST_CASE("with an extent of 0 the other extents may be of any size") {
  std::vector<float> floats(8, 0.5f), out(8, 7.0f);
  const std::vector<std::int64_t> position{1};
  const RopeTable table(Rope::half, {.rotary_dims = 4, .positions = 4});
  apply_rope({floats.data(), {kMaxInt, 0, 1, 4}}, {out.data(), {kMaxInt, 0, 1, 4}}, table,
             {position.data(), {1, 1}});
  rms_norm({floats.data(), {kMaxInt, kMaxInt, 0, 4}}, {out.data(), {kMaxInt, kMaxInt, 0, 4}});
  layer_norm({floats.data(), {kMaxInt, kMaxInt, 0, 4}}, {out.data(), {kMaxInt, kMaxInt, 0, 4}});
  softmax({floats.data(), {kMaxInt, kMaxInt, 0, 4}}, {out.data(), {kMaxInt, kMaxInt, 0, 4}});
  t5_bias({floats.data(), {32, 0}}, {}, 2, {out.data(), {0, kMaxInt}});
  attention({floats.data(), {kOne << 40, 2, 0, 4}}, {floats.data(), {kOne << 40, 2, 0, 4}},
            {floats.data(), {kOne << 40, 2, 0, 4}}, {out.data(), {kOne << 40, 2, 0, 4}});
  CHECK(out == std::vector<float>(8, 7.0f));
}

TEST_CASE("every distance maps to an existing bucket") {
  const std::vector<T5Buckets> configs{{kOne << 34, (kOne << 32) + 1, true},
                                       {kOne << 34, (kOne << 33) + 1, false},
                                       {kMaxInt - 1, kMaxInt, true},
                                       {kMaxInt, kMaxInt, false},
                                       {32, 128, true}};
  for (const T5Buckets& config : configs) {
    for (const std::int64_t distance :
         {kMinInt, -(kOne << 40), -(kOne << 32), std::int64_t{-1}, std::int64_t{0}, kOne << 32,
          (kOne << 32) + 1, kOne << 40, kMaxInt}) {
      CAPTURE(config.buckets);
      CAPTURE(distance);
      const std::int64_t bucket = t5_bucket(distance, config);
      CHECK(bucket >= 0);
      CHECK(bucket < config.buckets);
    }
  }
  CHECK(t5_bucket(-(kOne << 40), configs[0]) == (kOne << 33) - 1);
  CHECK(t5_bucket(-(kOne << 32), configs[0]) == kOne << 32);
}

TEST_CASE("a RoPE table is finite or refused") {
  using Kind = RopeScaling::Kind;
  const auto make = [](RopeScaling scaling, double base) {
    return [=] {
      const RopeTable table(Rope::half,
                            {.rotary_dims = 8, .positions = 9, .base = base, .scaling = scaling});
      for (std::int64_t i = 0; i < 36; ++i) {
        CHECK(std::isfinite(table.view().cos.data[i]));
        CHECK(std::isfinite(table.view().sin.data[i]));
      }
    };
  };
  CHECK(
      says(sentence_of(make({.kind = Kind::ntk, .factor = 1e308}, 1e4)), "config.scaling.factor"));
  CHECK(sentence_of(make({.kind = Kind::ntk, .factor = 1e200}, 1e4)) == "");
  CHECK(sentence_of(make({.kind = Kind::linear, .factor = 1e308}, 1e308)) == "");
  CHECK(sentence_of(make({.kind = Kind::llama3,
                          .factor = 1e308,
                          .original_positions = kMaxInt,
                          .high_freq_factor = 1e308},
                         1.0 + 0x1p-52)) == "");
  CHECK(sentence_of(make({.kind = Kind::yarn,
                          .factor = 1e308,
                          .original_positions = kMaxInt,
                          .beta_fast = 0x1p100,
                          .beta_slow = 0x1p-20},
                         1.0 + 0x1p-52)) == "");
  CHECK(says(
      sentence_of(make(
          {.kind = Kind::yarn, .factor = 2, .original_positions = 9, .beta_fast = 1e308}, 1e4)),
      "at most 2^100"));
  CHECK(says(
      sentence_of(make(
          {.kind = Kind::yarn, .factor = 2, .original_positions = 9, .attention_factor = 1e300},
          1e4)),
      "attention_factor"));
}

TEST_CASE("a value outside an enumeration is refused, not taken for another") {
  std::vector<float> floats(8, 0.5f), out(8, 7.0f);
  const bool seen = true;
  const auto attend = [&](const AttentionOptions& options) {
    return sentence_of([&] {
      attention({floats.data(), {1, 1, 2, 4}}, {floats.data(), {1, 1, 2, 4}},
                {floats.data(), {1, 1, 2, 4}}, {out.data(), {1, 1, 2, 4}}, options);
    });
  };
  CHECK(attend({.mask = {.kind = static_cast<Mask::Kind>(7)}}) ==
        "mask: kind 7 is neither none nor causal");
  CHECK(attend({.mask = {.align = static_cast<Mask::Align>(-1)}}) ==
        "mask: align -1 is neither offset nor bottom_right");
  CHECK(attend({.bool_mask = {{&seen, {1, 1, 1, 1}}, static_cast<MaskMeaning>(2)}}) ==
        "bool_mask: meaning 2 is neither keep nor drop");
  const auto table = [](Rope style, RopeScaling::Kind kind) {
    return sentence_of(
        [=] { RopeTable(style, {.rotary_dims = 4, .positions = 4, .scaling = {.kind = kind}}); });
  };
  CHECK(table(static_cast<Rope>(2), RopeScaling::Kind::none) ==
        "style: 2 is neither half nor interleaved");
  CHECK(says(table(Rope::half, static_cast<RopeScaling::Kind>(9)), "config.scaling.kind: 9"));
  CHECK(out == std::vector<float>(8, 7.0f));
}

}  // namespace rapt::test
