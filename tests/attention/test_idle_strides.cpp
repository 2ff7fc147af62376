// Strides of tensors without elements are ignored, in every view of every function except those of
// test_empty_tensors.cpp: the strides of other libraries are accepted, and the other outputs are
// written.
#include "rapt/rapt.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int64_t>::max();

template <int Rank>
using Extents = std::array<std::int64_t, Rank>;

/// Memory for every view; functions that find no elements must not change it.
struct Floats {
  std::vector<float> in = std::vector<float>(64, 0.5f), out = std::vector<float>(64, 7.0f);
};

/// Strides that no tensor with elements could have, or that numpy gives.
template <int Rank>
Extents<Rank> strides_of(int kind) {
  Extents<Rank> strides{};
  for (std::size_t i = 0; i < Rank; ++i) {
    strides[i] = kind == 0                                       ? 0
                 : kind == 1                                     ? 16
                 : (i + static_cast<std::size_t>(kind)) % 2 == 0 ? kMaxInt
                                                                 : -kMaxInt - 1;
  }
  return strides;
}

template <int Rank>
TensorView<const float, Rank> in(Floats& f, const Extents<Rank>& shape, int kind) {
  return {f.in.data(), shape, strides_of<Rank>(kind)};
}

template <int Rank>
TensorView<float, Rank> out(Floats& f, const Extents<Rank>& shape, int kind) {
  return {f.out.data(), shape, strides_of<Rank>(kind)};
}

/// Calls check() for every kind of strides and checks that the memory is unchanged.
void with_every_kind(const std::function<void(Floats&, int)>& check) {
  for (int kind = 0; kind < 4; ++kind) {
    CAPTURE(kind);
    Floats floats;
    REQUIRE(sentence_of([&] { check(floats, kind); }) == "");
    CHECK(floats.out == Floats().out);
  }
}

MultiHeadAttention layer_of(Floats& f, bool has_output) {
  const Linear square({f.in.data(), Extents<2>{4, 4}});
  return {{.model_dim = 4, .num_heads = 2},
          {square, square, square, has_output ? square : Linear()}};
}

}  // namespace

TEST_CASE("row functions ignore the strides of tensors without elements") {
  const RopeTable table(Rope::half, {.rotary_dims = 4, .positions = 8});
  with_every_kind([&](Floats& f, int kind) {
    for (const Extents<4>& shape : {Extents<4>{0, 2, 3, 4}, {2, 0, 3, 4}, {2, 3, 0, 4}}) {
      rms_norm(in<4>(f, shape, kind), out<4>(f, shape, kind));
      layer_norm(in<4>(f, shape, kind), out<4>(f, shape, kind));
      softmax(in<4>(f, shape, kind), out<4>(f, shape, kind));
      apply_rope(in<4>(f, shape, kind), out<4>(f, shape, kind), table);
    }
    rms_norm(in<4>(f, {2, 2, 3, 0}, kind), out<4>(f, {2, 2, 3, 0}, kind));
    rms_norm(in<4>(f, {kMaxInt, kMaxInt, 3, 0}, kind), out<4>(f, {kMaxInt, kMaxInt, 3, 0}, kind));
    std::vector<float> means(6, 7.0f);
    layer_norm(in<4>(f, {1, 2, 3, 0}, kind), out<4>(f, {1, 2, 3, 0}, kind), {.mean = means});
    CHECK(std::isnan(means.back()));
    layer_norm(in<4>(f, {kMaxInt, kMaxInt, 3, 0}, kind), out<4>(f, {kMaxInt, kMaxInt, 3, 0}, kind));
    softmax(in<4>(f, {kMaxInt, kMaxInt, 3, 0}, kind), out<4>(f, {kMaxInt, kMaxInt, 3, 0}, kind));
    rms_norm(in<2>(f, {0, 4}, kind), out<2>(f, {0, 4}, kind));
    rms_norm(in<2>(f, {4, 0}, kind), out<2>(f, {4, 0}, kind));
    const std::vector<std::int64_t> positions{1, 2, 3};
    const TensorView<const std::int64_t, 2> none(positions.data(), Extents<2>{1, 0},
                                                 strides_of<2>(kind));
    apply_rope(in<4>(f, {2, 3, 0, 4}, kind), out<4>(f, {2, 3, 0, 4}, kind), table, none);
    embedding_lookup(in<2>(f, {0, 4}, kind), {}, out<2>(f, {0, 4}, kind));
    embedding_lookup(in<2>(f, {4, 0}, kind), positions, out<2>(f, {3, 0}, kind));
    t5_bias(in<2>(f, {32, 0}, kind), {}, 2, out<2>(f, {0, 3}, kind));
    const Linear square({f.in.data(), Extents<2>{4, 4}});
    square.forward(in<2>(f, {0, 4}, kind), out<2>(f, {0, 4}, kind));
  });
}

TEST_CASE("merge ignores the strides of tensors without elements and writes the others") {
  with_every_kind([&](Floats& f, int kind) {
    const auto state = [&](const Extents<4>& shape) {
      const Extents<3> rows{shape[0], shape[1], shape[2]};
      return AttentionState<const float>(in<3>(f, rows, kind), in<3>(f, rows, kind),
                                         in<4>(f, shape, kind));
    };
    for (const Extents<4>& shape : {Extents<4>{0, 2, 3, 4}, {2, 0, 3, 4}, {2, 3, 0, 4}}) {
      const Extents<3> rows{shape[0], shape[1], shape[2]};
      merge(state(shape), state(shape),
            AttentionState<float>(out<3>(f, rows, kind), out<3>(f, rows, kind),
                                  out<4>(f, shape, kind)));
      const AttentionResult<const float> part{in<4>(f, shape, kind), in<3>(f, rows, kind)};
      merge(part, part, AttentionResult<float>{out<4>(f, shape, kind), out<3>(f, rows, kind)});
    }
  });
  Floats f;
  for (int kind = 0; kind < 4; ++kind) {
    CAPTURE(kind);
    std::vector<float> lse(2, 7.0f), m(2, 7.0f), l(2, 7.0f);
    const Extents<4> shape{1, 1, 2, 0};
    const Extents<3> rows{1, 1, 2};
    const AttentionResult<const float> part{in<4>(f, shape, kind), {f.in.data(), rows}};
    merge(part, part, AttentionResult<float>{out<4>(f, shape, kind), {lse.data(), rows}});
    for (const float x : lse) CHECK(x == doctest::Approx(0.5 + std::log(2.0)));
    const AttentionState<const float> state({f.in.data(), rows}, {f.in.data(), rows},
                                            in<4>(f, shape, kind));
    merge(state, state,
          AttentionState<float>({m.data(), rows}, {l.data(), rows}, out<4>(f, shape, kind)));
    CHECK(m == std::vector<float>(2, 0.5f));
    CHECK(l == std::vector<float>(2, 1.0f));
  }
}

TEST_CASE("the layer and its cache ignore the strides of tensors without elements") {
  with_every_kind([&](Floats& f, int kind) {
    for (const bool has_output : {false, true}) {
      const MultiHeadAttention layer = layer_of(f, has_output);
      for (const Extents<3>& shape : {Extents<3>{0, 3, 4}, {3, 0, 4}}) {
        layer.forward(in<3>(f, shape, kind), out<3>(f, shape, kind));
        const Extents<3> some{shape[0], 2, 4};
        const TensorView<const float, 3> context =
            shape[0] == 0 ? in<3>(f, some, kind) : TensorView<const float, 3>(f.in.data(), some);
        layer.forward(in<3>(f, shape, kind), context, out<3>(f, shape, kind));
      }
      KvCache cache({.kv_heads = 2, .head_dim = 2, .page_tokens = 32});
      const std::array sequences{cache.add()};
      const std::array<std::int64_t, 2> rows{0, 0};
      cache.append(sequences[0], in<3>(f, {0, 2, 2}, kind), in<3>(f, {0, 2, 2}, kind));
      layer.forward(in<2>(f, {0, 4}, kind), cache, {sequences, rows}, out<2>(f, {0, 4}, kind));
      layer.append_context(in<2>(f, {0, 4}, kind), cache, sequences, rows);
      layer.cross_forward(in<2>(f, {0, 4}, kind), cache, {sequences, rows},
                          out<2>(f, {0, 4}, kind));
      CHECK(cache.length(sequences[0]) == 0);
    }
  });
}

TEST_CASE("a layer without keys writes y and all optional outputs, whatever the strides") {
  Floats f;
  for (int kind = 0; kind < 4; ++kind) {
    CAPTURE(kind);
    const MultiHeadAttention layer = layer_of(f, true);
    std::vector<float> y(8, 7.0f), lse(4, 7.0f), sums(4, 7.0f);
    layer.forward({f.in.data(), Extents<3>{1, 2, 4}}, in<3>(f, {1, 0, 4}, kind),
                  {y.data(), Extents<3>{1, 2, 4}}, {.lse = {lse.data(), Extents<3>{1, 2, 2}}});
    CHECK(y == std::vector<float>(8, 0.0f));
    CHECK(lse == std::vector<float>(4, -INFINITY));
    layer.forward(in<3>(f, {1, 0, 4}, kind), {f.in.data(), Extents<3>{1, 2, 4}},
                  out<3>(f, {1, 0, 4}, kind), {.weight_sums = {sums.data(), Extents<3>{1, 2, 2}}});
    CHECK(sums == std::vector<float>(4, 0.0f));
  }
}

TEST_CASE("without keys the strides of an empty RoPE table, mask and bias are ignored") {
  Floats f;
  for (int kind = 0; kind < 4; ++kind) {
    CAPTURE(kind);
    const TensorView<const float, 2> none = in<2>(f, {0, 2}, kind);
    const AttentionOptions options{.rope = {.table = {Rope::half, none, none}}};
    CHECK(sentence_of([&] {
            attention(in<4>(f, {1, 2, 0, 4}, kind), in<4>(f, {1, 2, 0, 4}, kind),
                      in<4>(f, {1, 2, 0, 4}, kind), out<4>(f, {1, 2, 0, 4}, kind), options);
          }) == "");
    const AttentionOptions masks{
        .bool_mask = {TensorView<const bool, 4>(reinterpret_cast<const bool*>(f.in.data()),
                                                Extents<4>{1, 2, 2, 0}, strides_of<4>(kind)),
                      MaskMeaning::keep},
        .bias = in<4>(f, {1, 2, 2, 0}, kind)};
    std::vector<float> y(16, 7.0f);
    attention({f.in.data(), Extents<4>{1, 2, 2, 4}}, in<4>(f, {1, 2, 0, 4}, kind),
              in<4>(f, {1, 2, 0, 4}, kind), {y.data(), Extents<4>{1, 2, 2, 4}}, masks);
    CHECK(y == std::vector<float>(16, 0.0f));
  }
}

TEST_CASE("scores have no elements if all keys belong to no sequence") {
  Floats f;
  const std::array<std::int64_t, 2> rows{0, 2}, keys{3, 3};
  for (int kind = 0; kind < 4; ++kind) {
    CAPTURE(kind);
    std::vector<float> y(16, 7.0f);
    attention({f.in.data(), Extents<3>{2, 2, 4}}, {f.in.data(), Extents<3>{3, 2, 4}},
              {f.in.data(), Extents<3>{3, 2, 4}}, {y.data(), Extents<3>{2, 2, 4}}, {rows, keys},
              {.bias = in<4>(f, {1, 2, 2, 0}, kind),
               .weights = out<4>(f, {1, 2, 2, 0}, kind),
               .weight_sums = out<3>(f, {1, 2, 0}, kind)});
    CHECK(y == std::vector<float>(16, 0.0f));
  }
}

}  // namespace rapt::test
