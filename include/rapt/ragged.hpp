// Attention over a ragged batch: sequences of different lengths, packed row after row without
// padding.
#pragma once

#include "rapt/attention.hpp"
#include "rapt/export.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <span>

namespace rapt {

/// Where the sequences of a ragged batch are in packed rows (cu_seqlens in other libraries):
/// sequence s has the queries [q[s], q[s + 1]) and the keys [kv[s], kv[s + 1]). Both
/// [sequences + 1], ascending; equal neighbours are a sequence of length 0. Rows before the first
/// and from the last offset on belong to no sequence.
struct RaggedRows {
  std::span<const std::int64_t> q;
  std::span<const std::int64_t> kv;
};

/// attention() for each sequence of a ragged batch, with the bits of a separate call for each. The
/// threads share the work of all sequences together.
///
///   q    [q_rows,  heads,    head_dim]     any strides, last dimension dense (stride 1)
///   k    [kv_rows, kv_heads, head_dim]     likewise; heads is a multiple of kv_heads
///   v    [kv_rows, kv_heads, value_dim]    likewise
///   out  [q_rows,  heads,    value_dim]    likewise; overlaps no input and no other output. Rows
///                                          that belong to no sequence are not written
///
/// The options are those of attention(), with the sequences in place of the batch:
///   kv_lens, mask.query_offsets, mask.prefix_lens
///                                 [sequences]; a key length is at most the sequence's rows
///   bool_mask, bias               [1, heads, q_rows, keys], where `keys` is the largest number of
///                                 key rows of a sequence; the row is that of q, a key counts from
///                                 its sequence's first
///   lse                           [1, heads, q_rows], any strides; for memory [q_rows, heads]
///                                 `TensorView<float, 3>(data, {1, heads, q_rows}, {0, 1, heads})`
///   score_callback                gets the sequence as `batch`, with queries and keys counted from
///                                 the first of its sequence
///   weights                       [1, heads, q_rows, keys], 0 past a sequence's last key
///   weight_sums                   [sequences, heads, keys] or [sequences, kv_heads, keys]:
///                                 over the sequence's own queries, 0 past its last key
///
/// Throws Error{invalid_argument} naming the argument and its values before anything is written,
/// and Error{out_of_memory} if workspace cannot be allocated (out is then unspecified).
RAPT_API void attention(TensorView<const void, 3> q, TensorView<const void, 3> k,
                        TensorView<const void, 3> v, TensorView<void, 3> out,
                        const RaggedRows& rows, const AttentionOptions& options = kNoOptions);

}  // namespace rapt
