// Random matching sizes, and random options of attention for them.
#pragma once

#include "fuzz/descriptor_draws.hpp"
#include "rapt/rapt.hpp"

#include <array>
#include <cstdint>

namespace rapt::test {

using Extents2 = std::array<std::int64_t, 2>;
using Extents3 = std::array<std::int64_t, 3>;
using Extents4 = std::array<std::int64_t, 4>;

/// Matching sizes, some of them 0.
struct Sizes {
  explicit Sizes(Draws& d);
  std::int64_t batch, kv_heads, heads, q_len, kv_len, head_dim, value_dim;
};

/// The shapes for which options are drawn: for a ragged batch `batch` is 1.
struct Scores {
  std::int64_t batch, sequences, heads, kv_heads, q_len, keys, kv_rows, head_dim, value_dim;
};

/// The extent, or 1 for broadcasting.
std::int64_t broadcast(Draws& d, std::int64_t extent);

RopeView draw_table(Draws& d, std::int64_t head_dim);

template <class T>
AttentionState<T> draw_state(Draws& d, const Extents4& o) {
  const Extents3 rows{o[0], o[1], o[2]};
  return {d.view<T>(rows), d.view<T>(rows), d.view<T>(o)};
}

/// `places`: whether the call takes query positions from its mask.
AttentionOptions draw_options(Draws& d, const Scores& s, bool places = true);

}  // namespace rapt::test
