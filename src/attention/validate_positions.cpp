#include "attention/validate_positions.hpp"

#include "ops/validate_rope.hpp"

namespace rapt {

void validate_positions(const TensorView<const void, 4>& q, const TensorView<const void, 4>& k,
                        const RopeOptions& rope, const Sequences& sequences) {
  if (rope.table.cos.data == nullptr) return;
  const bool own_q = rope.q_positions.data != nullptr, own_k = rope.k_positions.data != nullptr;
  if (own_q) check_positions_shape("rope.q_positions", rope.q_positions, q.shape[0], q.shape[2]);
  if (own_k) check_positions_shape("rope.k_positions", rope.k_positions, k.shape[0], k.shape[2]);
  const std::int64_t rows = rope.table.cos.shape[0];
  for (std::size_t s = 0; s < sequences.plan.size(); ++s) {
    const auto number = static_cast<std::int64_t>(s);
    const PlanSequence& lengths = sequences.plan[s];
    const SequencePlace& at = sequences.places[s];
    if (own_q) {
      check_positions("rope.q_positions", rope.q_positions, {at.batch, at.q_row, lengths.q_len},
                      number, rows);
    } else if (lengths.q_len > 0) {
      check_position("rope: query position", at.query_offset, number, rows);
      check_position("rope: query position", at.query_offset + lengths.q_len - 1, number, rows);
    }
    if (own_k) {
      check_positions("rope.k_positions", rope.k_positions,
                      {at.batch, at.kv_row, lengths.visible.kv_len}, number, rows);
    } else if (rope.rotate_keys && lengths.visible.kv_len > 0) {
      check_position("rope: key position", lengths.visible.kv_len - 1, number, rows);
    }
  }
}

}  // namespace rapt
