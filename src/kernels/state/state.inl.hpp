// States across calls: a row's (m, l, o) read from and written to the caller's memory, and the
// merge of two.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/finish.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// A row's state in normal form, which may differ from its memory.
struct RowState {
  float m, l;
  const float* o;  // null: no state, because no key was seen
};

/// The o of a state without a key is ignored. A NaN m is not a maximum: it is represented by a NaN
/// in l, which reaches the row's result.
RAPT_INLINE RowState row_state(float m, float l, const float* o) {
  if (m == -kInfinity && l == 0.0f) return {m, 0.0f, nullptr};
  if (!(m == m)) return {-kInfinity, m, o};
  return {m, l, o};
}

/// Whether the item's rows continue from a state of the caller.
RAPT_INLINE bool continues(const AttendItem& item) {
  return item.call->state_in.o.data != nullptr && item.sequence->continues;
}

/// Sets the state before the first block: empty, or the caller's.
inline void begin_state(const AttendItem& item, const AttendScratch& scratch) {
  clear_state(item, scratch);
  if (!continues(item)) return;
  for (std::int64_t r = 0; r < item.rows; ++r) {
    const RowPosition at = position_of(item, item.row_begin + r);
    const RowPosition from_at{at.query + item.sequence->state_shift, at.head};
    const StateRows<const float>& in = item.call->state_in;
    const RowState from = row_state(*row_at(in.m, item, from_at), *row_at(in.l, item, from_at),
                                    row_at(in.o, item, from_at));
    scratch.m[r] = from.m;
    scratch.l[r] = from.l;
    if (from.o == nullptr) continue;
    float* const o = scratch.o + r * scratch.o_stride;
    for (std::int64_t c = 0; c < item.call->value_dim; ++c) o[c] = from.o[c];
  }
}

/// Writes x folded with y to row i of `to`.
inline void merge_row(const RowState& x, const RowState& y, std::int64_t columns, float* m,
                      float* l, float* o) {
  float m_x[kVecLanes] = {x.m}, l_x[kVecLanes] = {x.l};
  float m_y[kVecLanes] = {y.m}, l_y[kVecLanes] = {y.l};
  float a[kVecLanes], b[kVecLanes];
  fold_coefficients(m_x, l_x, m_y, l_y, 1, a, b);
  *m = m_x[0] + 0.0f;
  *l = canonical(l_x[0]);
  for (std::int64_t c = 0; c < columns; ++c) {
    const float o_x = x.o == nullptr ? 0.0f : x.o[c];
    const float o_y = y.o == nullptr ? 0.0f : y.o[c];
    const float from_y = o_y * b[0];
    o[c] = canonical(__builtin_fmaf(o_x, a[0], from_y) + 0.0f);
  }
}

/// The first element of row i of the merged head.
template <class T>
RAPT_INLINE T* row_of(const HeadRows<T>& rows, const MergeArgs& args, std::int64_t i) {
  return rows.data + args.batch * rows.batch_stride + args.head * rows.head_stride +
         i * rows.token_stride;
}

inline void merge_states(const MergeArgs& args) {
  const StateRows<float>& to = args.merged;
  const auto read = [&](const StateRows<const float>& state, std::int64_t i) {
    return row_state(*row_of(state.m, args, i), *row_of(state.l, args, i),
                     row_of(state.o, args, i));
  };
  for (std::int64_t i = 0; i < args.rows; ++i) {
    merge_row(read(args.x, i), read(args.y, i), args.value_dim, row_of(to.m, args, i),
              row_of(to.l, args, i), row_of(to.o, args, i));
  }
}

/// The state that out and lse represent: m = lse * log2 e, l = 1, o = out. An lse of -inf is an
/// empty state, NaN stays, and -FLT_MAX is an ordinary value (score_options.inl.hpp).
RAPT_INLINE RowState state_of_result(const StateRows<const float>& result, const MergeArgs& args,
                                     std::int64_t i) {
  const float lse = *row_of(result.m, args, i);
  const double m = static_cast<double>(lse) * kLog2E;
  const bool saturated = lse != -kInfinity && m < static_cast<double>(kLowest);
  return row_state(saturated ? kLowest : static_cast<float>(m), lse == -kInfinity ? 0.0f : 1.0f,
                   row_of(result.o, args, i));
}

inline void merge_results(const MergeArgs& args) {
  const StateRows<float>& to = args.merged;
  for (std::int64_t i = 0; i < args.rows; ++i) {
    float m = 0.0f, l = 0.0f;
    float* out = row_of(to.o, args, i);
    merge_row(state_of_result(args.x, args, i), state_of_result(args.y, args, i), args.value_dim,
              &m, &l, out);
    const float inverse = l == 0.0f ? 0.0f : 1.0f / l;
    for (std::int64_t c = 0; c < args.value_dim; ++c) {
      out[c] = canonical(__builtin_fmaf(out[c], inverse, 0.0f));
    }
    *row_of(to.m, args, i) = log_sum_exp(m, l);
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
