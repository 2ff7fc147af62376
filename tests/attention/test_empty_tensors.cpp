// Extents of 0 in every overload: outputs with elements are written as documented, and the strides
// of tensors without elements are ignored.
#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/on_every_isa.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kHeadDim = 8;

constexpr int kStrideKinds = 5;

/// A view whose strides, if it has no elements, are dense, those of other libraries, or arbitrary.
template <class T, int Rank>
TensorView<T, Rank> with_odd_strides(TensorView<T, Rank> view, int kind) {
  constexpr std::int64_t kMaxInt = std::numeric_limits<std::int64_t>::max();
  if (kind == 0 || std::ranges::find(view.shape, 0) == view.shape.end()) return view;
  for (std::size_t i = 0; i < view.strides.size(); ++i) {
    const std::array<std::int64_t, kStrideKinds> kinds{1, 0, i == 2 ? 1 : 16, kMaxInt,
                                                       -kMaxInt - 1};
    view.strides[i] = kinds[static_cast<std::size_t>(kind)];
  }
  return view;
}

/// Memory of a tensor, NaN at first; never null.
template <int Rank>
struct Memory {
  explicit Memory(const std::array<std::int64_t, Rank>& shape_)
      : shape(shape_), floats(count() + 1, kNaN) {}
  std::size_t count() const {
    std::size_t n = 1;
    for (const std::int64_t extent : shape) n *= static_cast<std::size_t>(extent);
    return n;
  }
  TensorView<float, Rank> view(int kind) {
    return with_odd_strides(TensorView<float, Rank>(floats.data(), shape), kind);
  }
  bool all(float x) const {
    return std::all_of(floats.begin(), floats.end() - 1, [x](float y) { return y == x; });
  }
  bool untouched() const { return std::isnan(floats.back()); }

  std::array<std::int64_t, Rank> shape;
  std::vector<float> floats;
};

struct Sizes {
  std::int64_t heads = 4, kv_heads = 2, q_len = 3, kv_len = 5, value_dim = 6;
};

enum class EntryPoint { padded, ragged, paged, cached, crossed };

/// Every output of a call of one sequence.
struct Results {
  Results(const Sizes& s, bool per_kv_head)
      : out({1, s.heads, s.q_len, s.value_dim}),
        lse({1, s.heads, s.q_len}),
        weights({1, s.heads, s.q_len, s.kv_len}),
        sums({1, per_kv_head ? s.kv_heads : s.heads, s.kv_len}),
        m({1, s.heads, s.q_len}),
        l({1, s.heads, s.q_len}),
        o({1, s.heads, s.q_len, s.value_dim}) {}

  AttentionOptions options(int kind) {
    return {.lse = lse.view(kind),
            .weights = weights.view(kind),
            .weight_sums = sums.view(kind),
            .state_out = {m.view(kind), l.view(kind), o.view(kind)}};
  }

  Memory<4> out;
  Memory<3> lse;
  Memory<4> weights;
  Memory<3> sums, m, l;
  Memory<4> o;
};

/// [1, heads, tokens, dim] as packed rows.
template <class T>
TensorView<T, 3> packed(const TensorView<T, 4>& view) {
  return {view.data, std::array{view.shape[2], view.shape[1], view.shape[3]},
          std::array{view.strides[2], view.strides[1], view.strides[3]}};
}

/// [1, kv_heads, tokens, dim] as one page for each token.
TensorView<const float, 4> as_pages(const TensorView<float, 4>& view) {
  return view.swapped(0, 2).swapped(1, 2);
}

void call(EntryPoint entry_point, const Sizes& s, int kind, Results& results) {
  Memory<4> q({1, s.heads, s.q_len, kHeadDim});
  Memory<4> k({1, s.kv_heads, s.kv_len, kHeadDim}), v({1, s.kv_heads, s.kv_len, s.value_dim});
  for (auto* floats : {&q.floats, &k.floats, &v.floats}) {
    const std::vector<float> values = normal_floats(floats->size(), floats->size());
    std::copy(values.begin(), values.end() - 1, floats->begin());
  }
  const AttentionOptions options = results.options(kind);
  const std::array<std::int64_t, 2> rows{0, s.q_len}, keys{0, s.kv_len};
  const TensorView<float, 4> out = results.out.view(kind);
  if (entry_point == EntryPoint::padded) {
    attention(q.view(kind), k.view(kind), v.view(kind), out, options);
  } else if (entry_point == EntryPoint::ragged) {
    attention(packed<const float>(q.view(kind)), packed<const float>(k.view(kind)),
              packed<const float>(v.view(kind)), packed(out), {rows, keys}, options);
  } else if (entry_point == EntryPoint::paged) {
    std::vector<std::int32_t> table(static_cast<std::size_t>(s.kv_len) + 1);
    for (std::size_t t = 0; t < table.size(); ++t) table[t] = static_cast<std::int32_t>(t);
    const TensorView<const std::int32_t, 2> entries = with_odd_strides(
        TensorView<const std::int32_t, 2>(table.data(), std::array<std::int64_t, 2>{1, s.kv_len}),
        kind);
    const PagedKeyValues pages{.k = as_pages(k.view(kind)),
                               .v = as_pages(v.view(kind)),
                               .table = entries,
                               .kv_lens = std::span(keys).subspan(1)};
    attention(packed<const float>(q.view(kind)), pages, rows, packed(out), options);
  } else {
    KvCache cache({.kv_heads = s.kv_heads, .head_dim = kHeadDim, .value_dim = s.value_dim});
    const std::array sequences{cache.add()};
    const auto tokens = [](const TensorView<float, 4>& view) {
      return TensorView<const float, 3>(
          view.data, std::array{view.shape[2], view.shape[1], view.shape[3]},
          std::array{view.strides[2], view.strides[1], view.strides[3]});
    };
    cache.append(sequences[0], tokens(k.view(kind)), tokens(v.view(kind)));
    const CacheQueries queries{sequences, rows};
    if (entry_point == EntryPoint::cached) {
      attention(packed<const float>(q.view(kind)), cache, queries, packed(out), options);
    } else {
      cross_attention(packed<const float>(q.view(kind)), cache, queries, packed(out), options);
    }
  }
}

bool can_be(EntryPoint entry_point, const Sizes& s) {
  if (s.kv_heads == 0 && s.heads > 0) return false;
  if (entry_point == EntryPoint::cached && s.q_len > s.kv_len) return false;
  return (entry_point != EntryPoint::cached && entry_point != EntryPoint::crossed) ||
         (s.kv_heads > 0 && s.value_dim > 0);
}

bool same_floats(const std::vector<float>& x, const std::vector<float>& y) {
  return x.size() == y.size() && std::equal(x.begin(), x.end() - 1, y.begin());
}

/// The values written to outputs when another tensor has no elements.
void check_results(const Sizes& s, const Results& r, const Results& with_values) {
  CHECK(r.out.untouched());
  CHECK(r.sums.untouched());
  if (s.kv_len == 0) {
    CHECK(r.out.all(0.0f));
    CHECK(r.lse.all(-INFINITY));
    CHECK(r.m.all(-INFINITY));
    CHECK(r.l.all(0.0f));
    CHECK(r.o.all(0.0f));
  } else {  // without queries these have no elements; without values they are the same
    CHECK(same_floats(r.lse.floats, with_values.lse.floats));
    CHECK(same_floats(r.weights.floats, with_values.weights.floats));
    CHECK(same_floats(r.m.floats, with_values.m.floats));
    CHECK(same_floats(r.l.floats, with_values.l.floats));
  }
  if (s.heads == 0 || s.q_len == 0) {
    CHECK(r.sums.all(0.0f));
  } else {
    CHECK(same_floats(r.sums.floats, with_values.sums.floats));
  }
}

}  // namespace

TEST_CASE("with extents of 0 every output that has elements is written, whatever the strides") {
  on_every_isa([] {
    for (int zeros = 1; zeros < 32; ++zeros) {
      Sizes s;
      if (zeros & 1) s.heads = 0;
      if (zeros & 2) s.kv_heads = 0;
      if (zeros & 4) s.q_len = 0;
      if (zeros & 8) s.kv_len = 0;
      if (zeros & 16) s.value_dim = 0;
      CAPTURE(zeros);
      for (const EntryPoint entry_point :
           {EntryPoint::padded, EntryPoint::ragged, EntryPoint::paged, EntryPoint::cached,
            EntryPoint::crossed}) {
        if (!can_be(entry_point, s)) continue;
        CAPTURE(static_cast<int>(entry_point));
        for (const bool per_kv_head : {false, true}) {
          Sizes full = s;
          full.value_dim = 6;
          Results with_values(full, per_kv_head);
          if (s.kv_heads > 0) call(EntryPoint::padded, full, 0, with_values);
          for (int kind = 0; kind < kStrideKinds; ++kind) {
            CAPTURE(kind);
            Results results(s, per_kv_head);
            CHECK_NOTHROW(call(entry_point, s, kind, results));
            check_results(s, results, with_values);
          }
        }
      }
    }
  });
}

}  // namespace rapt::test
