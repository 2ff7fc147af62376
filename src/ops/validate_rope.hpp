// Checks of RoPE arguments: tables, positions, and that outputs overlap neither.
#pragma once

#include "core/views.hpp"
#include "rapt/attention.hpp"
#include "rapt/rope.hpp"

namespace rapt {

/// Throws Error{invalid_argument} unless `table` has rows of cos and sin for a head_dim; an empty
/// one passes. `name` precedes the sentence.
void check_rope_table(const char* name, const RopeView& table, std::int64_t head_dim);

/// Throws unless positions are [batch or 1, tokens].
void check_positions_shape(const char* name, const TensorView<const std::int64_t, 2>& positions,
                           std::int64_t batch, std::int64_t tokens);

/// Throws unless `position`, called `what`, of sequence number `sequence` is a row of a table of
/// `rows` rows.
void check_position(const char* what, std::int64_t position, std::int64_t sequence,
                    std::int64_t rows);

/// Tokens [row, row + count) of batch index `batch`.
struct TokenRange {
  std::int64_t batch, row, count;
};

/// Throws unless the positions of these tokens, of sequence number `sequence`, are rows of a table
/// of `rows` rows.
void check_positions(const char* name, const TensorView<const std::int64_t, 2>& positions,
                     const TokenRange& tokens, std::int64_t sequence, std::int64_t rows);

/// Throws if a field of the option is set that the others make meaningless.
void check_rope_options(const RopeOptions& rope);

/// Keys in pages are used as they were appended: throws if an option would change them.
void check_keys_are_ready(const AttentionOptions& options);

/// Throws when the output overlaps a table or positions.
void check_rope_apart(const char* output, const core::MemoryRange& written,
                      const RopeOptions& rope);

}  // namespace rapt
