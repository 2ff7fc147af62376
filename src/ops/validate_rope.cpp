#include "ops/validate_rope.hpp"

#include <string>

namespace rapt {

using core::check_disjoint;
using core::fail;

void check_position(const char* what, std::int64_t position, std::int64_t sequence,
                    std::int64_t rows) {
  if (position >= 0 && position < rows) return;
  fail(std::string(what) + " " + std::to_string(position) + " of sequence " +
       std::to_string(sequence) + " is not a row of the table's " + std::to_string(rows));
}

void check_rope_table(const char* name, const RopeView& table, std::int64_t head_dim) {
  if (table.cos.data == nullptr && table.sin.data == nullptr) return;
  const std::string prefix = name;
  if (table.cos.data == nullptr || table.sin.data == nullptr) {
    fail(prefix + ": cos and sin are not both given");
  }
  core::check_input((prefix + ".cos").c_str(), table.cos);
  core::check_input((prefix + ".sin").c_str(), table.sin);
  for (std::size_t i = 0; i < 2; ++i) {
    if (table.cos.shape[i] == table.sin.shape[i]) continue;
    fail(prefix + ": extent " + std::to_string(table.cos.shape[i]) + " of cos and " +
         std::to_string(table.sin.shape[i]) + " of sin differ in dimension " + std::to_string(i));
  }
  const std::int64_t pairs = table.cos.shape[1];
  if (pairs < 1 || pairs > head_dim / 2) {
    fail(prefix + ": pairs " + std::to_string(pairs) + " is not within 1 and half of head_dim " +
         std::to_string(head_dim));
  }
  if (table.style != Rope::half && table.style != Rope::interleaved) {
    fail(prefix + ": style " + std::to_string(static_cast<int>(table.style)) +
         " is neither half nor interleaved");
  }
}

void check_positions_shape(const char* name, const TensorView<const std::int64_t, 2>& positions,
                           std::int64_t batch, std::int64_t tokens) {
  core::check_strided_input(name, positions);
  if (positions.shape[0] != 1 && positions.shape[0] != batch) {
    fail(std::string(name) + ": batch " + std::to_string(positions.shape[0]) +
         " is neither 1 nor " + std::to_string(batch));
  }
  if (positions.shape[1] != tokens) {
    fail(std::string(name) + ": tokens " + std::to_string(positions.shape[1]) + " does not match " +
         std::to_string(tokens));
  }
}

void check_positions(const char* name, const TensorView<const std::int64_t, 2>& positions,
                     const TokenRange& tokens, std::int64_t sequence, std::int64_t rows) {
  const std::int64_t b = positions.shape[0] == 1 ? 0 : tokens.batch;
  for (std::int64_t i = tokens.row; i < tokens.row + tokens.count; ++i) {
    const std::int64_t position = positions(b, i);
    if (position >= 0 && position < rows) continue;
    check_position((std::string(name) + ": position").c_str(), position, sequence, rows);
  }
}

void check_rope_options(const RopeOptions& rope) {
  const bool rotates = rope.table.cos.data != nullptr || rope.table.sin.data != nullptr;
  if (!rotates && (rope.q_positions.data != nullptr || rope.k_positions.data != nullptr)) {
    fail("rope: positions mean nothing without a table");
  }
  if (rope.rotate_keys) return;
  if (!rotates) fail("rope: rotate_keys = false means nothing without a table");
  if (rope.k_positions.data != nullptr) {
    fail("rope: k_positions cannot be combined with rotate_keys = false");
  }
}

void check_keys_are_ready(const AttentionOptions& options) {
  if (options.rope.table.cos.data != nullptr && options.rope.rotate_keys) {
    fail("rope: rotate_keys must be false for keys in pages; apply_rope() rotates them before");
  }
  if (options.qk_norm && options.qk_norm->normalize_keys) {
    fail("qk_norm: normalize_keys must be false for keys in pages; rms_norm() does it before");
  }
}

void check_rope_apart(const char* output, const core::MemoryRange& written,
                      const RopeOptions& rope) {
  check_disjoint(output, written, "rope.table.cos", rope.table.cos);
  check_disjoint(output, written, "rope.table.sin", rope.table.sin);
  check_disjoint(output, written, "rope.q_positions", rope.q_positions);
  check_disjoint(output, written, "rope.k_positions", rope.k_positions);
}

}  // namespace rapt
