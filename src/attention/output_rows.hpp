// The rows of the optional outputs that a call writes.
#pragma once

#include "core/views.hpp"
#include "kernels/abi/rows.hpp"
#include "rapt/attention_state.hpp"
#include "rapt/tensor.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rapt {

/// The row in weights of each of q_len queries, or -1, when only `queries` get one.
inline void find_weights_rows(std::span<const std::int64_t> queries, std::int64_t q_len,
                              std::vector<std::int64_t>& rows) {
  if (queries.empty()) return;
  rows.assign(static_cast<std::size_t>(q_len), -1);
  for (std::size_t row = 0; row < queries.size(); ++row) {
    rows[static_cast<std::size_t>(queries[row])] = static_cast<std::int64_t>(row);
  }
}

/// The state with strides of 0 for parts without elements.
template <class T>
AttentionState<T> without_idle_strides(const AttentionState<T>& state) {
  return {core::without_idle_strides(state.m), core::without_idle_strides(state.l),
          core::without_idle_strides(state.o)};
}

/// Rows of an output [batch, heads, rows] or [batch, heads, rows, dim].
template <class T, int kRank>
kernels::HeadRows<T> head_rows(const TensorView<T, kRank>& view) {
  return {view.data, view.strides[0], view.strides[1], view.strides[2]};
}

template <class T>
kernels::StateRows<T> state_rows(const AttentionState<T>& state) {
  return {head_rows(state.m), head_rows(state.l), head_rows(state.o)};
}

}  // namespace rapt
