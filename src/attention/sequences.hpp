// The sequences of a call: where the rows of each lie in the tensors, and which keys they may see.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attention/plan.hpp"
#include "rapt/mask.hpp"
#include "rapt/ragged.hpp"
#include "rapt/tensor.hpp"

namespace rapt {

using kernels::SequencePlace;

/// Where `count` rows of a tensor begin: those that do not exist at row 0, since `begin` may be
/// behind the tensor.
inline std::int64_t row_of(std::int64_t begin, std::int64_t count) { return count > 0 ? begin : 0; }

/// The sequences of a call, side by side; the vectors keep their memory from call to call.
struct Sequences {
  std::vector<PlanSequence> plan;
  std::vector<SequencePlace> places;

  void clear() {
    plan.clear();
    places.clear();
  }
  /// Adds a sequence. Its query offset is by `mask`, of which it is sequence number size(). Returns
  /// its place, of which the rest is to be set.
  SequencePlace& add(const Mask& mask, std::int64_t q_len, std::int64_t kv_len);
};

/// One sequence for each batch index of q [batch, heads, q_len, head_dim]; kv_lens as in
/// AttentionOptions.
void add_batch(const Mask& mask, std::span<const std::int64_t> kv_lens,
               const TensorView<const float, 4>& q, std::int64_t kv_len, Sequences& sequences);

/// The sequences of a ragged batch.
void add_ragged(const Mask& mask, std::span<const std::int64_t> kv_lens, const RaggedRows& rows,
                Sequences& sequences);

}  // namespace rapt
