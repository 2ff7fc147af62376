// A random problem with one sequence, cut into the sequences of a ragged batch.
#pragma once

#include "core/random.hpp"
#include "support/problems.hpp"

#include <cstdint>
#include <vector>

namespace rapt::test {

/// Row offsets of the sequences, as in RaggedRows.
struct Cuts {
  std::vector<std::int64_t> q, kv;
  /// Per-sequence values of the mask, if the problem has them.
  std::vector<std::int64_t> query_offsets{}, prefix_lens{};
  /// The sequences share their keys: kv has their counts, and all start with row 0.
  bool from_start = false;

  std::int64_t keys(std::size_t s) const { return kv[s + 1] - kv[s]; }
  std::int64_t first_key(std::size_t s) const { return from_start ? 0 : kv[s]; }
};

/// Whether the problem can be cut: one batch index, without lengths or weights of some rows.
bool can_be_ragged(const Spec& spec);

/// One to four sequences; rows may belong to none.
Cuts random_cuts(const Spec& spec, Random& random);

/// Two to four sequences that share most of the keys: not a ragged batch.
Cuts random_forks(const Spec& spec, Random& random);

/// The cut problem by the library, and by a call of the scalar statement for each sequence.
Outputs run_ragged(const Problem& problem, const Cuts& cuts);
/// as_bytes: of keys and values as a cache of bytes stores them.
Outputs run_ragged_statement(const Problem& problem, const Cuts& cuts, bool as_bytes = false);

// --- parts of a call with that batch -------------------------------------------------------------

/// [1, heads, rows, dim] as packed rows.
template <class Void>
TensorView<Void, 3> packed(const TensorView<Void, 4>& view) {
  return {view.data,
          view.dtype,
          {view.shape[2], view.shape[1], view.shape[3]},
          {view.strides[2], view.strides[1], view.strides[3]}};
}
inline TensorView<float, 3> packed(const TensorView<float, 4>& view) {
  return {view.data,
          {view.shape[2], view.shape[1], view.shape[3]},
          {view.strides[2], view.strides[1], view.strides[3]}};
}

/// Weights and weight sums have as many keys as the longest sequence.
Outputs outputs_of(const Problem& problem, const Cuts& cuts);

/// The options over the keys of the longest sequence, with these outputs.
AttentionOptions cut_options(const Problem& problem, const Cuts& cuts, const Outputs& outputs);

}  // namespace rapt::test
