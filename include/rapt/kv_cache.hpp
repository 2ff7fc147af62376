// Keys and values of many growing sequences, in pages that are packed for the kernels.
#pragma once

#include "rapt/attention.hpp"
#include "rapt/export.hpp"
#include "rapt/mask.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <memory>
#include <span>

namespace rapt {

/// The sizes of a cache. A field left at 0 takes the value after the arrow.
struct KvCacheConfig {
  std::int64_t kv_heads = 0;   ///< required
  std::int64_t head_dim = 0;   ///< required
  std::int64_t value_dim = 0;  ///< -> head_dim
  /// Tokens of a page: 32, 64, 128 or 256. Long pages are read faster: with 8 kv heads of 128 one
  /// core decodes from pages of 256 tokens in 0.7 to 0.8 of the time of pages of 64
  /// (docs/notes/kernels_on_zen_4.md). Short ones leave less room idle at a sequence's end, half a
  /// page on average.
  std::int64_t page_tokens = 256;
  std::int64_t max_pages = 0;  ///< the budget of all sequences together; 0: limited by memory only
  /// Of the stored keys and values: f32, bf16 or f16, to which they are rounded once; or i8, bytes
  /// with a scale for each row of a token and kv head (docs/precision.md).
  DType dtype = DType::f32;
  /// kNoWindow, or how many earlier keys a new token may see: append() frees the pages all of whose
  /// keys are more than `window` before the first token it appends.
  std::int64_t window = kNoWindow;
};

/// What a cache holds, in pages and bytes.
struct KvCacheUsage {
  std::int64_t sequences;
  std::int64_t pages_used;  ///< each once, however many sequences share it
  std::int64_t pages_free;  ///< allocated, for sequences to come
  std::int64_t max_pages;   ///< the budget; 0: none
  std::int64_t page_bytes;
};

class CacheStore;
class MultiHeadAttention;
struct CacheQueries;

/// A cache of one attention layer. Sequences are identified by numbers that are never reused; each
/// has tokens 0, 1, ..., length - 1.
///
/// Layout of a page: for each kv head its keys, then its values, in elements of config.dtype:
///   keys    [page_tokens / 32][head_dim][32]     32 keys side by side, as the kernels read them
///   values  [value_dim / 32][page_tokens][32]    32 columns of all tokens before the next 32;
///                                                value_dim rounded up to a multiple of 32
///   scales  [2][page_tokens]                     of i8: floats, of the keys, then of the values
///
/// A row of i8, x of one token and kv head, is i = round(x * (127 / max |x|)), to nearest even,
/// with scale = max |x| / 127: keys and values are read as i * scale. A row whose largest magnitude
/// is below 2^-119 is zeros; one that holds a NaN or an infinity has scale NaN, and so have the
/// results of all queries that see it.
///
/// Bits: attention over the cache equals attention over the same keys, rounded to its type, in one
/// tensor, however they were appended, forked or rolled back and wherever the pages are. Bytes are
/// no type of a tensor: their order of operations is in docs/arithmetic.md.
///
/// Threads: const functions, and attention over the cache, may run in many threads; so may
/// functions that change different sequences. While a sequence is being changed no other thread may
/// read it; forks of it are sequences of their own. A failed call leaves everything unchanged. A
/// moved-from cache can be assigned to; every other use of it throws Error{invalid_argument}.
class RAPT_API KvCache {
 public:
  /// Throws Error{invalid_argument} naming the field.
  explicit KvCache(const KvCacheConfig& config);
  ~KvCache();
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;

  /// A new sequence without tokens.
  std::int64_t add();

  /// A new sequence with all tokens of `sequence`. They share their pages; a page that is not full
  /// is copied when one of them appends to it.
  std::int64_t fork(std::int64_t sequence);

  /// Appends n tokens to a sequence.
  ///   k  [n, kv_heads, head_dim]     any strides, last dimension dense (stride 1); copied
  ///   v  [n, kv_heads, value_dim]    likewise
  /// Throws Error{cache_full} if the budget does not have enough pages, Error{out_of_memory}, and
  /// Error{invalid_argument} for an unknown sequence or a wrong shape.
  void append(std::int64_t sequence, TensorView<const void, 3> k, TensorView<const void, 3> v);

  /// Appends to many sequences, to all or to none: the tokens [rows[s], rows[s + 1]) of k and v to
  /// sequences[s]. rows: [sequences + 1], ascending. No sequence may be named twice. Takes no
  /// more pages than appending to one sequence after the other would.
  void append(std::span<const std::int64_t> sequences, std::span<const std::int64_t> rows,
              TensorView<const void, 3> k, TensorView<const void, 3> v);

  /// Truncates the sequence to its first `length` tokens, as if the later ones had never been
  /// appended. Throws Error{invalid_argument} if it is shorter, or if the window has freed keys
  /// that a token at `length` could see.
  void truncate(std::int64_t sequence, std::int64_t length);

  /// Removes a sequence; its pages that no other sequence shares become free.
  void remove(std::int64_t sequence);

  /// Removes all sequences and keeps the memory. No other thread may use the cache meanwhile.
  void clear();

  /// Allocates memory until `pages` pages are free. Throws Error{cache_full} beyond the
  /// budget.
  void reserve(std::int64_t pages);

  std::int64_t length(std::int64_t sequence) const;  ///< tokens; positions count from 0
  /// The first token whose page the window has not freed; 0 without a window.
  std::int64_t first_token(std::int64_t sequence) const;
  KvCacheUsage usage() const;
  /// With every default filled in.
  const KvCacheConfig& config() const;

 private:
  friend class MultiHeadAttention;
  friend void attention(TensorView<const void, 3>, const KvCache&, const CacheQueries&,
                        TensorView<void, 3>, const AttentionOptions&);
  friend void attention(TensorView<const void, 3>, const KvCache&, std::int64_t,
                        TensorView<void, 3>, const AttentionOptions&);
  friend void cross_attention(TensorView<const void, 3>, const KvCache&, const CacheQueries&,
                              TensorView<void, 3>, const AttentionOptions&);
  CacheStore& store() const;
  std::unique_ptr<CacheStore> store_;
};

/// The queries of a call over a cache, packed: the rows [rows[s], rows[s + 1]) of q are the last
/// tokens of sequences[s]. Prefill chunks, decode rows and sequences without a row may be mixed in
/// any order, and a sequence may be named more than once. Forks in one call cost less: pages that
/// sequences with up to 8 queries each share are read once (docs/kernels.md, Cascade).
struct CacheQueries {
  std::span<const std::int64_t> sequences;
  std::span<const std::int64_t> rows;  ///< [sequences + 1], ascending
};

/// attention() over a cache whose sequences already contain the tokens of the queries: query i of
/// the n queries of a sequence is at position length - n + i.
///
///   q    [q_rows, heads, head_dim]     any strides, last dimension dense (stride 1)
///   out  [q_rows, heads, value_dim]    likewise; overlaps no input and no other output. Rows that
///                                      belong to no sequence are not written
///
/// The options are those of a ragged batch (rapt/ragged.hpp), where `keys` is the length of the
/// longest sequence. A query's position is the one above, so mask.query_offset and query_offsets
/// must not be set, and bottom_right changes nothing. kv_lens cannot be given, since the sequences
/// have lengths of their own.
///
/// Throws Error{invalid_argument} naming the argument and its values before anything is written:
/// unknown sequences, wrong heads, more queries than tokens, a query that may see keys which the
/// window has freed. Throws Error{out_of_memory} if workspace cannot be allocated (out is then
/// unspecified).
RAPT_API void attention(TensorView<const void, 3> q, const KvCache& cache,
                        const CacheQueries& queries, TensorView<void, 3> out,
                        const AttentionOptions& options = kNoOptions);

/// The same for one sequence: q holds the queries of its last q_rows tokens.
RAPT_API void attention(TensorView<const void, 3> q, const KvCache& cache, std::int64_t sequence,
                        TensorView<void, 3> out, const AttentionOptions& options = kNoOptions);

/// Cross-attention over a cache: the keys are those of other tokens, for example of an encoder's
/// states, which were appended once. A sequence may have any number of rows in `queries`, even more
/// than it has tokens; they see all of its keys unless a mask says otherwise.
///
/// Shapes, options and errors as for attention() over a cache, except that query positions are
/// those of attention() on each sequence alone: by mask.query_offset, query_offsets ([sequences])
/// or bottom_right. Only windows, causal masks, ALiBi, RoPE and callbacks use them. Bits: those of
/// attention() over the same keys in one tensor.
RAPT_API void cross_attention(TensorView<const void, 3> q, const KvCache& cache,
                              const CacheQueries& queries, TensorView<void, 3> out,
                              const AttentionOptions& options = kNoOptions);

}  // namespace rapt
