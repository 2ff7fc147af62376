// Which rows of the outputs beside out belong to the rows of a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "attention/sequences.hpp"
#include "core/views.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "rapt/attention_state.hpp"

namespace rapt {

/// Of each of q_len queries its row in weights, or -1, when only those of `queries` are wanted.
inline void find_weights_rows(std::span<const std::int64_t> queries, std::int64_t q_len,
                              std::vector<std::int64_t>& rows) {
  if (queries.empty()) return;
  rows.assign(static_cast<std::size_t>(q_len), -1);
  for (std::size_t row = 0; row < queries.size(); ++row) {
    rows[static_cast<std::size_t>(queries[row])] = static_cast<std::int64_t>(row);
  }
}

/// The state, with strides of 0 in those of its parts that have no elements.
template <class T>
AttentionState<T> without_idle_strides(const AttentionState<T>& state) {
  return {core::without_idle_strides(state.m), core::without_idle_strides(state.l),
          core::without_idle_strides(state.o)};
}

/// The states of query head `head` and the heads after it, from a sequence's query 0 on, which lies
/// `shift` rows behind its row of q.
template <class T>
kernels::StateRows<T> state_rows(const AttentionState<T>& state, const SequencePlace& at,
                                 std::int64_t head, std::int64_t shift = 0) {
  const auto first = [&](const auto& view) {
    return view.data + at.batch * view.strides[0] + head * view.strides[1] +
           (at.q_row + shift) * view.strides[2];
  };
  return {.m = first(state.m),
          .l = first(state.l),
          .o = first(state.o),
          .m_token_stride = state.m.strides[2],
          .m_head_stride = state.m.strides[1],
          .l_token_stride = state.l.strides[2],
          .l_head_stride = state.l.strides[1],
          .o_token_stride = state.o.strides[2],
          .o_head_stride = state.o.strides[1]};
}

}  // namespace rapt
