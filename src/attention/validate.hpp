// The checks of a call's arguments, of which validate() in problem.hpp makes one. Each throws
// Error{invalid_argument} with one sentence naming the argument and the values.
#pragma once

#include "core/views.hpp"
#include "rapt/attention.hpp"

#include <array>
#include <cstdint>
#include <span>

namespace rapt {

/// Rows of q and keys of a sequence at most, so that a plan may multiply them.
inline constexpr std::int64_t kMostKeys = std::int64_t{1} << 40;

/// [batch, heads, rows of q, keys], which masks and outputs of scores have.
using ScoresShape = std::array<std::int64_t, 4>;

/// What the options ask of k and v.
struct HeadSizes {
  std::int64_t kv_heads, head_dim, value_dim;
};

struct NamedMemory {
  const char* name;
  core::MemoryRange range;
};

/// The bytes of tensors that were checked; of k and v none where they are in pages.
struct TensorMemory {
  core::MemoryRange q, k, v, out;
};

/// The tensors by themselves and against each other.
TensorMemory validate_tensors(const TensorView<const float, 4>& q,
                              const TensorView<const float, 4>& k,
                              const TensorView<const float, 4>& v, const TensorView<float, 4>& out);

/// q and out alone, where keys and values are in pages; `owner`: whose sizes they must match, "the
/// cache's".
TensorMemory validate_queries(const TensorView<const float, 4>& q, const TensorView<float, 4>& out,
                              const char* owner, std::int64_t kv_heads, std::int64_t head_dim,
                              std::int64_t value_dim);

/// Offsets of n sequences into packed rows: n + 1 of them, ascending within 0 and `rows`.
void validate_row_offsets(const char* name, std::span<const std::int64_t> offsets,
                          std::int64_t rows);

/// The range mask.
void validate_mask(const Mask& mask, std::int64_t sequences);

/// Every option but kv_lens.
void validate_options(const AttentionOptions& options, const ScoresShape& scores,
                      std::int64_t sequences, const HeadSizes& heads);

/// No output, of which `out` is the first, overlaps `inputs`, what the options read, or another
/// output.
void validate_apart(const NamedMemory& out, std::span<const NamedMemory> inputs,
                    const AttentionOptions& options);
inline void validate_apart(const core::MemoryRange& out, std::span<const NamedMemory> inputs,
                           const AttentionOptions& options) {
  validate_apart(NamedMemory{"out", out}, inputs, options);
}

}  // namespace rapt
