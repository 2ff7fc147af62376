// Scaled dot-product attention over views of the caller's memory.
#pragma once

#include "rapt/attention_state.hpp"
#include "rapt/export.hpp"
#include "rapt/mask.hpp"
#include "rapt/rms_norm.hpp"
#include "rapt/rope.hpp"
#include "rapt/score_callback.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace rapt {

/// What a call of attention() may add to the plain formula. Every default has no effect.
/// The order is: norm and rotation of q and k, scale, soft cap, bias, ALiBi, score callback, mask,
/// softmax; a sink is added to the softmax last.
struct AttentionOptions {
  Mask mask{};  ///< none, causal(...), causal_top_left(), causal_bottom_right(), each
                ///< .windowed(...); causal ones .with_prefix(...)

  /// QK-norm: each row of q and k is divided by its root mean square. Unset: none.
  std::optional<QkNorm> qk_norm{};

  /// RoPE: q and k are rotated by position before they are multiplied, as apply_rope() would.
  /// rope.table empty: no rotation. Source: Su et al., "RoFormer", 2021.
  RopeOptions rope{};

  /// [batch]: keys at or beyond kv_lens[b] do not exist for sequence b and are never read.
  /// Empty: every sequence has all kv_len keys.
  std::span<const std::int64_t> kv_lens{};

  BoolMask bool_mask{};  ///< [batch, heads, q_len, kv_len], keep or drop; broadcasts

  /// Added to the scaled score. [batch, heads, q_len, kv_len]; an extent of 1 or a stride of 0
  /// broadcasts; -inf hides a key. Empty (data == nullptr): nothing is added.
  TensorView<const void, 4> bias{};

  /// Logit soft cap: a scaled score s becomes cap * tanh(s / cap); cap > 0. Unset: none.
  /// Source: Gemma 2 (2024), section 2; Bello et al., 2016.
  std::optional<float> soft_cap{};

  /// ALiBi, [heads]: -slopes[h] * |p - j| is added to the score of key j, where p = i + offset is
  /// the query's position by `mask`, whose offset applies even if it masks nothing. Empty: none.
  /// Source: Press et al., "Train Short, Test Long", 2021.
  std::span<const float> alibi_slopes{};

  /// A function of the caller that changes scores, before the masks: any callable
  /// void(const ScoreTile&), pure and outliving the call (rapt/score_callback.hpp). Unset: none.
  /// Source: Dong et al., "Flex Attention", 2024.
  ScoreCallback score_callback{};

  /// Attention sinks, [heads]: an extra key with score sinks[h] and no value, visible to every
  /// row, so that the weights sum to less than 1. Part of lse. -inf: none for that head. Empty:
  /// none. Source: Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2023.
  std::span<const float> sinks{};

  /// Unset: 1 / sqrt(head_dim). 0 is valid and gives the mean of the visible values.
  std::optional<float> softmax_scale{};

  /// Output [batch, heads, q_len]: lse = ln(sum_j exp(score_j)), natural log; -inf for a row with
  /// no visible key. Empty (data == nullptr): not written.
  TensorView<float, 3> lse{};

  /// Output [batch, heads, q_len, kv_len]: the attention weights, 0 where masked. Last dimension
  /// dense. Empty (data == nullptr): not written.
  TensorView<float, 4> weights{};

  /// The queries whose rows `weights` holds, ascending, each once: `weights` is then [batch, heads,
  /// weights_rows.size(), kv_len]. Empty: all of them.
  std::span<const std::int64_t> weights_rows{};

  /// Output [batch, heads, kv_len] (for a ragged batch or sequences in pages [sequences, heads,
  /// keys]): for each key the sum of its weights over the queries; or [batch, kv_heads, kv_len],
  /// over the queries and the heads that share it. A criterion for evicting keys from a cache.
  /// Summed by ascending query (and head), so that threads and batch change no bit. Nothing of size
  /// q_len * kv_len is stored: scores are computed a second time. Empty: not written.
  /// Source: Zhang et al., "H2O: Heavy-Hitter Oracle", 2023.
  TensorView<float, 3> weight_sums{};

  /// The state of earlier keys, to continue from: as if these keys preceded those of the call, with
  /// out, lse and weights those over all keys so far. Weights of the earlier keys are not written.
  /// Masks, ALiBi and a score callback still count keys from key 0 of this call. Empty: none.
  AttentionState<const float> state_in{};

  /// Output: the state after these keys, including state_in but not sinks. A call that continues
  /// from it gives the bits of one call with all keys if the border is a multiple of 256, the key
  /// block (docs/arithmetic.md). Empty: not written.
  AttentionState<float> state_out{};
};

/// Plain attention: the default of every call, made once.
inline constexpr AttentionOptions kNoOptions{};

/// out[b, h, i] = sum_j softmax_j(softmax_scale * <q[b, h, i], k[b, h', j]> + bias[b, h, i, j])
///                * v[b, h', j],   over the keys j that row i may see;  h' = h / (heads / kv_heads)
///
///   q    [batch, heads,    q_len,  head_dim]     any strides, last dimension dense (stride 1)
///   k    [batch, kv_heads, kv_len, head_dim]     likewise; heads is a multiple of kv_heads
///   v    [batch, kv_heads, kv_len, value_dim]    likewise; value_dim may differ from head_dim
///   out  [batch, heads,    q_len,  value_dim]    likewise; overlaps no input and no other output
///
/// Any layout with a dense last dimension is a view: BHSD directly, BSHD by swapped(1, 2), a packed
/// QKV tensor by slices. Every size except head_dim may be 0; kv_len = 0 gives zeros. A row with no
/// visible key gives out = 0, lse = -inf, weights = 0. A masked key does not exist: nothing that it
/// holds, NaN and Inf included, changes a result. A NaN in a visible key makes NaN exactly the rows
/// that see it. The bits of a row depend only on that row's own query, keys, values and masks: not
/// on the ISA, the threads, the batch or the other queries (docs/arithmetic.md).
///
/// Runs in parallel in the caller's current tbb::task_arena; small calls run inline. Thread-safe.
/// Throws Error{invalid_argument} naming the argument and its values before anything is written,
/// and Error{out_of_memory} if workspace cannot be allocated (out is then unspecified). Exceptions
/// of a score_callback are passed on (out is then unspecified).
///
/// Source: Vaswani et al., "Attention Is All You Need", 2017, eq. 1; the blocked softmax is that of
/// Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018, and Dao et al.,
/// "FlashAttention", 2022.
RAPT_API void attention(TensorView<const void, 4> q, TensorView<const void, 4> k,
                        TensorView<const void, 4> v, TensorView<void, 4> out,
                        const AttentionOptions& options = kNoOptions);

}  // namespace rapt
