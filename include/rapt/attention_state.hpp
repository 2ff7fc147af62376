// The running state (m, l, o) of attention over some of the keys: an output of attention(), an
// input of a call that continues with further keys, and combined with another state by merge().
#pragma once

#include "rapt/export.hpp"
#include "rapt/tensor.hpp"

#include <type_traits>

namespace rapt {

/// The state of each row after some of the keys. With s_j = score_j * log2(e):
///   m = max_j s_j,   l = sum_j 2^(s_j - m),   o = sum_j 2^(s_j - m) v_j
/// so that out = o / l and lse = (m + log2(l)) ln 2. A row without a visible key has m = -inf,
/// l = 0, o = 0; where such a state is read it is ignored, whatever its o holds. A NaN in m or l
/// makes the row NaN. Sinks are not included: they affect outputs only.
///   m, l  [batch, heads, q_len]             any strides
///   o     [batch, heads, q_len, value_dim]  likewise, last dimension dense (stride 1)
template <class T>
struct AttentionState {
  TensorView<T, 3> m{};
  TensorView<T, 3> l{};
  TensorView<T, 4> o{};

  constexpr AttentionState() = default;
  constexpr AttentionState(TensorView<T, 3> m_, TensorView<T, 3> l_, TensorView<T, 4> o_)
      : m(m_), l(l_), o(o_) {}

  /// A state of T is a state of const T.
  template <class U>
  requires(std::is_same_v<T, const U>) constexpr AttentionState(const AttentionState<U>& other)
      : m(other.m), l(other.l), o(other.o) {}

  /// Whether there is a state: o has memory.
  explicit constexpr operator bool() const { return o.data != nullptr; }
};

/// The state over the keys of both states, which must be different keys of the same rows:
///   m' = max(m_x, m_y),   l' = l_x 2^(m_x - m') + l_y 2^(m_y - m'),   o' likewise
/// `merged` overlaps neither, or is one of them. The order of sums differs from continuing from x
/// with the keys of y (AttentionOptions::state_in): the result is within the bound of attention(),
/// but does not have the same bits. attention() without keys, from the merged state, gives out and
/// lse. Throws Error{invalid_argument} naming the argument and its values; nothing is then written.
/// Source: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
RAPT_API void merge(const AttentionState<const float>& x, const AttentionState<const float>& y,
                    const AttentionState<float>& merged);

/// A finished result: what attention() wrote as `out` and `lse`. A row with an lse of -inf is
/// ignored, whatever out holds; a NaN lse makes the row NaN.
///   out  [batch, heads, q_len, value_dim]  any strides, last dimension dense (stride 1)
///   lse  [batch, heads, q_len]             any strides
template <class T>
struct AttentionResult {
  TensorView<T, 4> out{};
  TensorView<T, 3> lse{};
};

/// The result over the keys of both results:
///   out = (e^lse_x out_x + e^lse_y out_y) / (e^lse_x + e^lse_y),   lse = ln(e^lse_x + e^lse_y)
/// A sink may be in at most one of them. `merged` overlaps neither, or is one of them. Within the
/// bound of attention() plus |lse| u per weight, since an lse is one rounded float. Throws as
/// above. Source: Ye et al., "FlashInfer", 2025, section 2.2.
RAPT_API void merge(const AttentionResult<const float>& x, const AttentionResult<const float>& y,
                    const AttentionResult<float>& merged);

}  // namespace rapt
