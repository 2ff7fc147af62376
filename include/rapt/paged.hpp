// Attention over the caller's own paged cache: a block table and pages of plain rows.
#pragma once

#include "rapt/attention.hpp"
#include "rapt/export.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <span>

namespace rapt {

/// Which page holds which tokens: page number [sequences, pages of a sequence], of 32 or 64 bits,
/// any strides. Entry (s, p) is the page of the tokens [p * page_size, (p + 1) * page_size) of
/// sequence s.
struct BlockTable {
  constexpr BlockTable() = default;
  constexpr BlockTable(TensorView<const std::int32_t, 2> pages) : narrow(pages) {}  // NOLINT
  constexpr BlockTable(TensorView<const std::int64_t, 2> pages) : wide(pages) {}    // NOLINT

  TensorView<const std::int32_t, 2> narrow{};
  TensorView<const std::int64_t, 2> wide{};  ///< used when it has memory
};

/// Keys and values in the caller's pages.
struct PagedKeyValues {
  /// [num_pages, page_size, kv_heads, head_dim], any strides, last dimension dense; page_size >= 1.
  /// Another order of the dimensions is a view, by swapped().
  TensorView<const void, 4> k{};
  TensorView<const void, 4> v{};  ///< [num_pages, page_size, kv_heads, value_dim], likewise
  BlockTable table{};
  /// [sequences]: keys at or beyond kv_lens[s] do not exist. At most 2^40 each.
  std::span<const std::int64_t> kv_lens{};
};

/// attention() over a paged cache, read in place: the bits of the same keys in one tensor.
///
///   q     [q_rows, heads, head_dim]     any strides, last dimension dense (stride 1)
///   out   [q_rows, heads, value_dim]    likewise; overlaps no input and no other output
///   rows  [sequences + 1]               ascending: sequence s has the queries [rows[s], rows[s+1])
///
/// The options are those of a ragged batch (rapt/ragged.hpp), `keys` being the largest of kv_lens;
/// options.kv_lens cannot be given in addition to those of the pages. Only entries of the block
/// table whose pages hold keys that a query may see are read and must be valid: past a sequence's
/// length, before its window and for sequences without a query they may be anything. Pages of 32
/// tokens and more are prefetched. First pages that sequences have in common are read once for up
/// to 8 queries of each (docs/kernels.md, Cascade).
///
/// Throws Error{invalid_argument} naming the argument and its values before anything is written,
/// and Error{out_of_memory} if workspace cannot be allocated (out is then unspecified).
RAPT_API void attention(TensorView<const void, 3> q, const PagedKeyValues& pages,
                        std::span<const std::int64_t> rows, TensorView<void, 3> out,
                        const AttentionOptions& options = kNoOptions);

}  // namespace rapt
