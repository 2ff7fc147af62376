// The entry points that keep memory across calls, callable at any stage of a program: their inputs
// are created once and never destroyed.
#pragma once

#include "rapt/rapt.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

namespace rapt::test {

/// Writes the results of one entry point.
struct EntryPoint {
  const char* name;
  std::function<void(std::vector<float>& y)> call;
};

/// Numbers in (-1, 1), the same everywhere.
inline std::vector<float> some_floats(std::int64_t count, std::uint32_t seed) {
  std::vector<float> floats;
  for (std::int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525 + 1013904223;
    floats.push_back(static_cast<float>(seed >> 8) * 0x1p-23f - 1.0f);
  }
  return floats;
}

/// The tensors of all entry points; large enough for several threads.
struct EntryPointTensors {
  static constexpr std::int64_t kHeads = 8, kQueries = 60, kTokens = 300, kDim = 64, kModel = 64;

  std::vector<float> q = some_floats(kHeads * kQueries * kDim, 1);
  std::vector<float> k = some_floats(kHeads * kTokens * kDim, 2);
  std::vector<float> v = some_floats(kHeads * kTokens * kDim, 3);
  std::vector<float> x = some_floats(kTokens * kModel, 4);
  std::vector<float> weight = some_floats(kModel * kModel, 5);
  std::vector<std::int64_t> rows{0, 20, 21, 60}, kv_rows{0, 100, 101, 300}, lens{300, 7, 200},
      table{0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 1, 2};
  std::vector<std::int64_t> forks, fork_rows{0, 1, 2, 3}, all_rows{0, 300};
  Linear linear{{weight.data(), {kModel, kModel}}};
  MultiHeadAttention layer{{.model_dim = kModel, .num_heads = 4}, {linear, linear, linear, linear}};
  KvCache cache{{.kv_heads = kHeads, .head_dim = kDim, .page_tokens = 32}};

  EntryPointTensors() {
    forks.push_back(cache.add());
    cache.append(forks[0], tokens(k), tokens(v));
    forks.push_back(cache.fork(forks[0]));
    forks.push_back(cache.fork(forks[0]));
  }

  TensorView<const float, 4> batch(const std::vector<float>& from) const {
    return {from.data(), {1, kHeads, kTokens, kDim}};
  }
  TensorView<const float, 3> tokens(const std::vector<float>& from) const {
    return {from.data(), {kTokens, kHeads, kDim}};
  }
  /// [rows, heads, dim]
  TensorView<const float, 3> packed(const std::vector<float>& from, std::int64_t count) const {
    return {from.data(), {count, kHeads, kDim}};
  }
  static TensorView<float, 3> packed(std::vector<float>& to, std::int64_t count) {
    return {to.data(), {count, kHeads, kDim}};
  }
};

/// The entry points; never destroyed, like their inputs.
inline const std::vector<EntryPoint>& entry_points() {
  using T = EntryPointTensors;
  constexpr std::int64_t kAll = T::kHeads * T::kQueries * T::kDim;
  static T& t = *new T;
  static const auto& list = *new std::vector<EntryPoint>{
      {"attention",
       [](std::vector<float>& y) {
         y.resize(kAll);
         attention({t.q.data(), {1, T::kHeads, T::kQueries, T::kDim}}, t.batch(t.k), t.batch(t.v),
                   {y.data(), {1, T::kHeads, T::kQueries, T::kDim}}, {.mask = causal()});
       }},
      {"ragged",
       [](std::vector<float>& y) {
         y.resize(kAll);
         attention(t.packed(t.q, T::kQueries), t.packed(t.k, T::kTokens), t.packed(t.v, T::kTokens),
                   T::packed(y, T::kQueries), {.q = t.rows, .kv = t.kv_rows}, {.mask = causal()});
       }},
      {"paged",
       [](std::vector<float>& y) {
         y.resize(kAll);
         const PagedKeyValues pages{
             .k = {t.k.data(), {6, 50, T::kHeads, T::kDim}},
             .v = {t.v.data(), {6, 50, T::kHeads, T::kDim}},
             .table = TensorView<const std::int64_t, 2>(t.table.data(), {3, 6}, {4, 1}),
             .kv_lens = t.lens};
         attention(t.packed(t.q, T::kQueries), pages, t.rows, T::packed(y, T::kQueries));
       }},
      {"cascade over the cache",
       [](std::vector<float>& y) {
         y.resize(3 * T::kHeads * T::kDim);
         attention(t.packed(t.q, 3), t.cache, {.sequences = t.forks, .rows = t.fork_rows},
                   T::packed(y, 3));
       }},
      {"compiled_isas",
       [](std::vector<float>& y) {
         for (const Isa isa : compiled_isas()) y.push_back(static_cast<float>(isa));
       }},
      {"Linear",
       [](std::vector<float>& y) {
         y.resize(T::kTokens * T::kModel);
         t.linear.forward({t.x.data(), {T::kTokens, T::kModel}},
                          {y.data(), {T::kTokens, T::kModel}});
       }},
      {"MultiHeadAttention",
       [](std::vector<float>& y) {
         y.resize(T::kTokens * T::kModel);
         t.layer.forward(TensorView<const float, 3>(t.x.data(), {1, T::kTokens, T::kModel}),
                         TensorView<float, 3>(y.data(), {1, T::kTokens, T::kModel}));
       }},
      {"MultiHeadAttention over a cache of its own",
       [](std::vector<float>& y) {
         y.resize(T::kTokens * T::kModel);
         KvCache cache({.kv_heads = 4, .head_dim = 16});
         const std::int64_t sequences[] = {cache.add()};
         t.layer.forward(TensorView<const float, 2>(t.x.data(), {T::kTokens, T::kModel}), cache,
                         {.sequences = sequences, .rows = t.all_rows},
                         TensorView<float, 2>(y.data(), {T::kTokens, T::kModel}));
       }},
  };
  return list;
}

/// Whether every entry point gives the bits in `want`; names the first that does not.
inline const char* first_wrong_entry_point(const std::vector<std::vector<float>>& want) {
  std::vector<float> y;
  for (std::size_t i = 0; i < entry_points().size(); ++i) {
    y.clear();
    entry_points()[i].call(y);
    const bool same = y.size() == want[i].size() &&
                      std::memcmp(y.data(), want[i].data(), y.size() * sizeof(float)) == 0;
    if (!same) return entry_points()[i].name;
  }
  return nullptr;
}

}  // namespace rapt::test
