// Checks of a call's arguments, combined by validate() in problem.hpp. Each throws
// Error{invalid_argument} with one sentence naming the argument and the values.
#pragma once

#include "core/views.hpp"
#include "rapt/attention.hpp"

#include <array>
#include <cstdint>
#include <span>

namespace rapt {

/// Limit on the rows of q and the keys of a sequence: their products stay within 64 bits.
inline constexpr std::int64_t kMaxKeys = std::int64_t{1} << 40;

/// [batch, heads, rows of q, keys], the shape of masks and of outputs of scores.
using ScoresShape = std::array<std::int64_t, 4>;

/// Sizes of k and v that options must match.
struct HeadSizes {
  std::int64_t kv_heads, head_dim, value_dim;
};

struct NamedMemory {
  const char* name;
  core::MemoryRange range;
};

/// The memory of checked tensors; k and v are empty if they are in pages.
struct TensorMemory {
  core::MemoryRange q, k, v, out;
};

/// Each tensor alone, and their shapes against each other.
TensorMemory validate_tensors(const TensorView<const void, 4>& q,
                              const TensorView<const void, 4>& k,
                              const TensorView<const void, 4>& v, const TensorView<void, 4>& out);

/// q and out, when keys and values are in pages. `owner` ("the cache's") names the pages in error
/// sentences.
TensorMemory validate_queries(const TensorView<const void, 4>& q, const TensorView<void, 4>& out,
                              const char* owner, std::int64_t kv_heads, std::int64_t head_dim,
                              std::int64_t value_dim);

/// Offsets of n sequences into packed rows: n + 1 ascending values within 0 and `rows`.
void validate_row_offsets(const char* name, std::span<const std::int64_t> offsets,
                          std::int64_t rows);

void validate_mask(const Mask& mask, std::int64_t sequences);

/// Every option except kv_lens.
void validate_options(const AttentionOptions& options, const ScoresShape& scores,
                      std::int64_t sequences, const HeadSizes& heads);

/// No output, `out` included, overlaps another output, `inputs`, or memory read by the options.
void validate_apart(const NamedMemory& out, std::span<const NamedMemory> inputs,
                    const AttentionOptions& options);
inline void validate_apart(const core::MemoryRange& out, std::span<const NamedMemory> inputs,
                           const AttentionOptions& options) {
  validate_apart(NamedMemory{"out", out}, inputs, options);
}

}  // namespace rapt
