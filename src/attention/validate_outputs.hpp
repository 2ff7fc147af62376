// Checks of the outputs of attention() in addition to out: weights, their sums, states.
#pragma once

#include "attention/validate.hpp"
#include "rapt/attention.hpp"

namespace rapt {

/// weights and weights_rows, state_in, state_out: each checked alone.
void validate_weights(const AttentionOptions& options, const ScoresShape& scores);
void validate_states(const AttentionOptions& options, const ScoresShape& scores,
                     std::int64_t value_dim);

/// weight_sums: [sequences, heads or kv_heads, kv_len].
void validate_weight_sums(const AttentionOptions& options, const ScoresShape& scores,
                          std::int64_t sequences, std::int64_t kv_heads);

/// A state's name and those of its parts in error sentences.
struct StateNames {
  const char* whole;
  const char* m;
  const char* l;
  const char* o;
};

/// A state of `batch` x `heads` x `q_len` rows; an input if const float, an output if float.
template <class T>
void validate_state(const StateNames& names, const AttentionState<T>& state,
                    const std::array<std::int64_t, 3>& rows, std::int64_t value_dim);

/// With a last dimension of 1, for checks that require a dense last dimension.
TensorView<const float, 4> with_dense_dimension(const TensorView<const float, 3>& view);

}  // namespace rapt
