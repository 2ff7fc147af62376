// Braced views select the overload with their number of extents; any other number does not compile.
#include "rapt/rapt.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace rapt::test {
namespace {

template <class View, class T>
concept takes_2 = requires(T* data) {
  View(data, {2, 8});
};
template <class View, class T>
concept takes_3 = requires(T* data) {
  View(data, {1, 2, 8});
};
template <class View, class T>
concept takes_4 = requires(T* data) {
  View(data, {1, 1, 2, 8});
};
template <class View, class T>
concept takes_5 = requires(T* data) {
  View(data, {1, 1, 1, 2, 8});
};
template <class View, class T>
concept takes_strides_2 = requires(T* data) {
  View(data, {2, 8}, {8, 1});
};
template <class View, class T>
concept takes_2_with_strides_3 = requires(T* data) {
  View(data, {2, 8}, {8, 8, 1});
};
template <class View, class T>
concept takes_strides_4 = requires(T* data) {
  View(data, {1, 1, 2, 8}, {16, 16, 8, 1});
};

/// Whether views of each rank accept exactly that many extents in braces.
template <class T>
constexpr bool ranks_are_exact() {
  using View2 = TensorView<T, 2>;
  using View3 = TensorView<T, 3>;
  using View4 = TensorView<T, 4>;
  return takes_2<View2, T> && !takes_3<View2, T> && !takes_4<View2, T> &&  //
         !takes_2<View3, T> && takes_3<View3, T> && !takes_4<View3, T> &&  //
         !takes_2<View4, T> && !takes_3<View4, T> && takes_4<View4, T> && !takes_5<View4, T> &&
         takes_strides_2<View2, T> && !takes_2_with_strides_3<View2, T> &&
         !takes_strides_2<View4, T> && takes_strides_4<View4, T> && !takes_strides_4<View3, T>;
}

static_assert(ranks_are_exact<float>());
static_assert(ranks_are_exact<const float>());
static_assert(ranks_are_exact<const std::int64_t>());

template <std::size_t N>
using Extents = std::array<std::int64_t, N>;
static_assert(std::is_constructible_v<TensorView<float, 2>, float*, Extents<2>>);
static_assert(!std::is_constructible_v<TensorView<float, 2>, float*, Extents<3>>);
static_assert(std::is_constructible_v<TensorView<float, 2>, float*, Extents<2>, Extents<2>>);
static_assert(!std::is_constructible_v<TensorView<float, 2>, float*, Extents<2>, Extents<1>>);

/// Memory for any of the calls below; each request gets `count` floats of its own.
struct Floats {
  float* next(std::size_t count) {
    used += count;
    return floats.data() + used - count;
  }
  std::vector<float> floats = std::vector<float>(4096, 0.5f);
  std::size_t used = 0;
};

}  // namespace

TEST_CASE("a braced view has the extents and strides that are written in it") {
  std::vector<float> floats(16);
  const TensorView<float, 2> dense(floats.data(), {2, 8});
  CHECK(dense.shape == Extents<2>{2, 8});
  CHECK(dense.strides == Extents<2>{8, 1});
  const Extents<2> extents{2, 8}, strides{1, 2};
  for (const TensorView<float, 2>& view : {TensorView<float, 2>(floats.data(), {2, 8}, {1, 2}),
                                           TensorView<float, 2>(floats.data(), extents, strides),
                                           TensorView<float, 2>(floats.data(), extents, {1, 2}),
                                           TensorView<float, 2>(floats.data(), {2, 8}, strides)}) {
    CHECK(view.data == floats.data());
    CHECK(view.shape == extents);
    CHECK(view.strides == strides);
  }
}

TEST_CASE("row functions accept braced views") {
  Floats f;
  const float* const p = f.next(16);
  float* const q = f.next(16);
  rms_norm({p, {2, 8}}, {q, {2, 8}});
  rms_norm({p, {1, 1, 2, 8}}, {q, {1, 1, 2, 8}});
  CHECK(q[0] == doctest::Approx(1.0));
  layer_norm({p, {2, 8}}, {q, {2, 8}});
  layer_norm({p, {1, 1, 2, 8}}, {q, {1, 1, 2, 8}}, {.epsilon = 0.5f});
  softmax({p, {2, 8}}, {q, {2, 8}});
  softmax({p, {1, 1, 2, 8}}, {q, {1, 1, 2, 8}});
  CHECK(q[0] == doctest::Approx(0.125));
  const RopeTable table(Rope::half, {.rotary_dims = 8, .positions = 4});
  const std::vector<std::int64_t> positions{1, 3};
  apply_rope({p, {1, 1, 2, 8}}, {q, {1, 1, 2, 8}}, table);
  apply_rope({p, {1, 1, 2, 8}}, {q, {1, 1, 2, 8}}, table, 1);
  apply_rope({p, {1, 1, 2, 8}}, {q, {1, 1, 2, 8}}, table, {positions.data(), {1, 2}});
  apply_rope({p, {1, 1, 2, 8}}, {q, {1, 1, 2, 8}},
             {Rope::half, {f.next(16), {4, 4}}, {f.next(16), {4, 4}}});
  embedding_lookup({p, {2, 8}}, std::vector<std::int64_t>{1}, {q, {1, 8}});
  t5_bias({f.next(32), {32, 1}}, {}, 2, {q, {1, 3}});
  const Linear square({f.next(64), {8, 8}});
  square.forward({p, {2, 8}}, {q, {2, 8}});
  CHECK(Linear::from_heads({f.next(64), {2, 8, 4}}).out_features() == 8);
}

TEST_CASE("attention and merge accept braced views") {
  Floats f;
  const float* const p = f.next(64);
  float* const out = f.next(64);
  const std::vector<std::int64_t> rows{0, 2};
  attention({p, {1, 2, 2, 8}}, {p, {1, 1, 4, 8}}, {p, {1, 1, 4, 8}}, {out, {1, 2, 2, 8}});
  attention({p, {1, 2, 2, 8}}, {p, {1, 1, 4, 8}}, {p, {1, 1, 4, 8}}, {out, {1, 2, 2, 8}},
            {.mask = causal(), .lse = {f.next(4), {1, 2, 2}}});
  attention({p, {2, 2, 8}}, {p, {2, 1, 8}}, {p, {2, 1, 8}}, {out, {2, 2, 8}}, {rows, rows});
  attention({p, {2, 2, 8}}, {p, {2, 1, 8}}, {p, {2, 1, 8}}, {out, {2, 2, 8}}, {rows, rows},
            {.mask = causal()});
  const std::vector<std::int32_t> pages{0};
  const std::vector<std::int64_t> lens{2};
  attention({p, {2, 2, 8}},
            {.k = {p, {1, 2, 1, 8}},
             .v = {p, {1, 2, 1, 8}},
             .table = {{pages.data(), {1, 1}}},
             .kv_lens = lens},
            rows, {out, {2, 2, 8}});
  CHECK(out[0] == doctest::Approx(0.5));
  merge({{p, {1, 2, 2}}, {p, {1, 2, 2}}, {p, {1, 2, 2, 8}}},
        {{p, {1, 2, 2}}, {p, {1, 2, 2}}, {p, {1, 2, 2, 8}}},
        {{f.next(4), {1, 2, 2}}, {f.next(4), {1, 2, 2}}, {out, {1, 2, 2, 8}}});
  merge({{p, {1, 2, 2, 8}}, {p, {1, 2, 2}}}, {{p, {1, 2, 2, 8}}, {p, {1, 2, 2}}},
        {{out, {1, 2, 2, 8}}, {f.next(4), {1, 2, 2}}});
  CHECK(out[0] == doctest::Approx(0.5));
}

TEST_CASE("the layer and its cache accept braced views") {
  Floats f;
  const float* const p = f.next(64);
  float* const y = f.next(64);
  const Linear square({f.next(64), {8, 8}});
  const MultiHeadAttention layer({.model_dim = 8, .num_heads = 2},
                                 {square, square, square, square});
  layer.forward({p, {1, 2, 8}}, {y, {1, 2, 8}});
  layer.forward({p, {1, 2, 8}}, {y, {1, 2, 8}}, {.mask = causal()});
  layer.forward({p, {1, 2, 8}}, {p, {1, 3, 8}}, {y, {1, 2, 8}});
  layer.forward({p, {1, 2, 8}}, {p, {1, 3, 8}}, {y, {1, 2, 8}}, {.softmax_scale = 1.0f});
  KvCache cache({.kv_heads = 2, .head_dim = 4});
  const std::vector<std::int64_t> sequences{cache.add()}, rows{0, 2};
  cache.append(sequences[0], {p, {2, 2, 4}}, {p, {2, 2, 4}});
  cache.append(sequences, rows, {p, {2, 2, 4}}, {p, {2, 2, 4}});
  attention({p, {2, 2, 4}}, cache, {sequences, rows}, {y, {2, 2, 4}});
  attention({p, {2, 2, 4}}, cache, sequences[0], {y, {2, 2, 4}});
  attention({p, {2, 2, 4}}, cache, sequences[0], {y, {2, 2, 4}}, {.mask = causal()});
  cross_attention({p, {2, 2, 4}}, cache, {sequences, rows}, {y, {2, 2, 4}},
                  {.softmax_scale = 1.0f});
  layer.forward({p, {2, 8}}, cache, {sequences, rows}, {y, {2, 8}});
  layer.append_context({p, {2, 8}}, cache, sequences, rows);
  layer.cross_forward({p, {2, 8}}, cache, {sequences, rows}, {y, {2, 8}});
  CHECK(cache.length(sequences[0]) == 8);
  const MultiHeadAttentionWeights fused = MultiHeadAttentionWeights::from_fused(
      {.model_dim = 8, .num_heads = 2}, FusedRows::q_k_v, {f.next(192), {24, 8}});
  CHECK(fused.query.out_features() == 8);
}

}  // namespace rapt::test
