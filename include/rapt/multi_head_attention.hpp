// Multi-head attention as a layer: projections, heads in parallel, concatenation, output
// projection.
#pragma once

#include "rapt/attention.hpp"
#include "rapt/export.hpp"
#include "rapt/linear.hpp"
#include "rapt/rope.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace rapt {

class KvCache;        // rapt/kv_cache.hpp
struct CacheQueries;  // likewise

/// The sizes of a layer. A field left at 0 takes the value after the arrow.
struct MultiHeadAttentionConfig {
  std::int64_t model_dim = 0;     ///< features of a query token; required
  std::int64_t num_heads = 0;     ///< required
  std::int64_t num_kv_heads = 0;  ///< -> num_heads; divides num_heads
  std::int64_t head_dim = 0;      ///< -> model_dim / num_heads, which must then be whole
  std::int64_t value_dim = 0;     ///< -> head_dim
  std::int64_t kv_model_dim = 0;  ///< features of a key/value token (cross-attention) -> model_dim
  std::int64_t output_dim = 0;    ///< features of an output token -> model_dim; without an output
                                  ///< projection -> num_heads * value_dim, which it must then be
  std::optional<float> softmax_scale{};  ///< unset: 1 / sqrt(head_dim)

  /// QK-norm: each head of q and of k is normalised by rms_norm() with this epsilon, before it is
  /// rotated. At least 0. Unset: none.
  std::optional<float> qk_norm_epsilon{};

  /// RoPE: each head of q and of k is rotated by its token's position, as apply_rope() would. The
  /// table must outlive the layer; layers may share one. Empty: no rotation.
  RopeView rope{};
};

/// The order of the rows in one matrix that holds all three projections. There is no default:
/// models disagree. A head of q or k has head_dim rows, one of v value_dim.
enum class FusedRows {
  q_k_v,       ///< all heads of q, then all of k, then all of v: GPT-2, Falcon 7B, MPT, Phi-3,
               ///< ChatGLM2, in_proj_weight of PyTorch
  by_kv_head,  ///< for each kv head: the heads of q that share it, its rows of k, its rows of v:
               ///< GPT-NeoX, BLOOM, Falcon 40B, InternLM2
};

/// The four projections. Each is a Linear, made from one [out, in] matrix (PyTorch) or, for query,
/// key and value, from [heads, in, e] (Linear::from_heads), with or without bias.
struct MultiHeadAttentionWeights {
  Linear query;   ///< model_dim    -> num_heads * head_dim
  Linear key;     ///< kv_model_dim -> num_kv_heads * head_dim
  Linear value;   ///< kv_model_dim -> num_kv_heads * value_dim
  Linear output;  ///< num_heads * value_dim -> output_dim; empty: the concatenated heads are the
                  ///< result

  /// The weights of the QK-norm, [head_dim] each, or empty: all 1.
  std::vector<float> query_norm{}, key_norm{};

  /// Query, key and value from one matrix, as in checkpoints with a fused projection.
  ///   qkv       [num_heads * head_dim + num_kv_heads * (head_dim + value_dim), model_dim], any
  ///             strides (GPT-2 stores it transposed: swapped(0, 1)); copied
  ///   qkv_bias  [qkv's rows], or empty for none; copied
  /// The layer has the bits of one with separate projections. Throws
  /// Error{invalid_argument} naming the argument and both sizes.
  RAPT_API static MultiHeadAttentionWeights from_fused(const MultiHeadAttentionConfig& config,
                                                       FusedRows rows,
                                                       TensorView<const void, 2> qkv,
                                                       std::span<const float> qkv_bias = {},
                                                       Linear output = {});
};

/// One layer: y = concat_h(attention(x Wq_h, c Wk_h, c Wv_h)) Wo, with c = x (self-attention) or
/// another sequence (cross-attention); between projection and attention QK-norm and RoPE, if the
/// configuration has them. x, c, y and each weight are f32, bf16 or f16; everything between the
/// projections is f32. Immutable: may be used from many threads at once; copies share the
/// weights. A moved-from layer keeps its configuration; its other members throw
/// Error{invalid_argument}.
/// Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.2.
class RAPT_API MultiHeadAttention {
 public:
  /// Throws Error{invalid_argument} when sizes are below 1 or a projection's sizes disagree with
  /// the configuration; the sentence names the projection and both sizes.
  MultiHeadAttention(const MultiHeadAttentionConfig& config, MultiHeadAttentionWeights weights);

  /// Self-attention; kv_model_dim must be model_dim.
  ///   x  [batch, tokens, model_dim]   any strides, last dimension dense (stride 1)
  ///   y  [batch, tokens, output_dim]  likewise; overlaps nothing that is read, nor lse, nor
  ///   weights
  /// options: as for attention(); softmax_scale set there overrides the configuration's. A QK-norm
  /// or a table of RoPE is given there or in the configuration, not in both; positions for the
  /// configuration's table may be given there (rope.q_positions, rope.k_positions). A token's bits
  /// depend on no other sequence of the batch. Sizes of 0 are valid: without keys, y is the bias of
  /// the output projection, or 0. Each calling thread keeps its workspace for its next call. Throws
  /// Error{invalid_argument} naming the argument and its values: y, lse and weights are then
  /// unchanged; and Error{out_of_memory} if workspace cannot be allocated: outputs are then
  /// unspecified.
  void forward(TensorView<const void, 3> x, TensorView<void, 3> y,
               const AttentionOptions& options = kNoOptions) const;

  /// Cross-attention: queries from x, keys and values from context [batch, kv_tokens,
  /// kv_model_dim].
  void forward(TensorView<const void, 3> x, TensorView<const void, 3> context,
               TensorView<void, 3> y, const AttentionOptions& options = kNoOptions) const;

  /// Self-attention over a cache, for prefill, chunks of it and decoding, mixed in one call: the
  /// rows [queries.rows[s], queries.rows[s + 1]) of x are the next tokens of queries.sequences[s].
  /// Their keys, normalised and rotated, and values are appended, then each row attends over its
  /// sequence from its index in it, which is also its position for RoPE.
  ///   x  [rows, model_dim]   any strides, last dimension dense (stride 1)
  ///   y  [rows, output_dim]  likewise; overlaps nothing that is read. Rows that belong to no
  ///                          sequence are not written
  /// The cache has the layer's num_kv_heads, head_dim and value_dim; kv_model_dim must be
  /// model_dim; no sequence may be named twice. options: as for attention() over a cache, with the
  /// new tokens counted in the longest sequence; a chunk of several rows usually needs mask =
  /// causal(). QK-norm and RoPE come from the configuration only.
  ///
  /// Bits: those that a row has in one plain forward() with all tokens of its sequence, however the
  /// tokens are divided into chunks and whatever other rows are in the call.
  ///
  /// Every exception leaves the cache as it was, pages before a window included:
  /// Error{invalid_argument}, with y unchanged too; Error{cache_full}, where pages before a window
  /// count as free only once the call has succeeded; Error{out_of_memory} and exceptions of a score
  /// callback, with y unspecified.
  void forward(TensorView<const void, 2> x, KvCache& cache, const CacheQueries& queries,
               TensorView<void, 2> y, const AttentionOptions& options = kNoOptions) const;

  /// Cross-attention over a cache, the first half: projects the tokens of a context, for example an
  /// encoder's states, and appends their keys, normalised and rotated, and values. Done once for
  /// all calls of cross_forward(); more tokens may be appended later.
  ///   context    [rows, kv_model_dim]   any strides, last dimension dense; the rows [rows[s],
  ///                                     rows[s + 1]) are the next tokens of sequences[s]
  ///   sequences, rows                   as for KvCache::append()
  /// The cache has the layer's num_kv_heads, head_dim and value_dim. Every exception leaves the
  /// cache as it was: Error{invalid_argument}, Error{cache_full} and Error{out_of_memory}.
  void append_context(TensorView<const void, 2> context, KvCache& cache,
                      std::span<const std::int64_t> sequences,
                      std::span<const std::int64_t> rows) const;

  /// The second half: queries from x, keys and values from the cache, which is not changed. The
  /// rows [queries.rows[s], queries.rows[s + 1]) of x see all tokens of queries.sequences[s],
  /// unless a mask says otherwise; a sequence may be named more than once, as for beams.
  ///   x  [rows, model_dim]   any strides, last dimension dense
  ///   y  [rows, output_dim]  likewise; overlaps nothing that is read. Rows that belong to no
  ///                          sequence are not written
  /// options: as for cross_attention() over a cache; rope.q_positions may be given for the
  /// configuration's table. QK-norm and RoPE come from the configuration only.
  /// Bits: those of forward(x, context, y, options) of each sequence alone. Throws
  /// Error{invalid_argument}, with y unchanged; Error{out_of_memory} and exceptions of a score
  /// callback, with y unspecified.
  void cross_forward(TensorView<const void, 2> x, const KvCache& cache, const CacheQueries& queries,
                     TensorView<void, 2> y, const AttentionOptions& options = kNoOptions) const;

  /// The configuration with all defaults filled in.
  const MultiHeadAttentionConfig& config() const noexcept { return config_; }

 private:
  const MultiHeadAttentionWeights& weights() const;
  MultiHeadAttentionConfig config_;
  std::shared_ptr<const MultiHeadAttentionWeights> weights_;
};

/// Rows of `table` by token id: y[i] = table[ids[i]].
///   table: [vocabulary, model_dim]; y: [ids.size(), model_dim]; last dimensions dense; f32, bf16
///   or f16 each, and copied bit for bit if of one type; y overlaps neither the table nor the ids.
/// Throws Error{invalid_argument} naming the position and the id if one is outside the table; y is
/// then unchanged.
RAPT_API void embedding_lookup(TensorView<const void, 2> table, std::span<const std::int64_t> ids,
                               TensorView<void, 2> y);

}  // namespace rapt
