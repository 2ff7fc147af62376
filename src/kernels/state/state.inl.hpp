// States that are passed on: a row's (m, l, o) read from and written to the caller's memory, and
// two of them merged.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/finish.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// A row's state as it is read: what it says, not what its memory holds.
struct RowState {
  float m, l;
  const float* o;  // null: no part, which saw no key
};

/// The o of a part without a key is nothing, whatever is there. A NaN m is no maximum: what is left
/// of it is a NaN in l, which reaches the row.
RAPT_INLINE RowState row_state(float m, float l, const float* o) {
  if (m == -kInfinity && l == 0.0f) return {m, 0.0f, nullptr};
  if (!(m == m)) return {-kInfinity, m, o};
  return {m, l, o};
}

RAPT_INLINE RowState row_of(const StateRows<const float>& state, std::int64_t i, std::int64_t h) {
  return row_state(state.m[i * state.m_token_stride + h * state.m_head_stride],
                   state.l[i * state.l_token_stride + h * state.l_head_stride],
                   state.o + i * state.o_token_stride + h * state.o_head_stride);
}

/// The state before the first block: none, or the one to go on from.
inline void begin_state(const AttendArgs& args, const AttendScratch& scratch) {
  clear_state(args, scratch);
  if (args.state_in.o == nullptr) return;
  for (std::int64_t r = 0; r < args.rows; ++r) {
    const RowPosition at = position_of(args, args.row_begin + r);
    const RowState from = row_of(args.state_in, at.query, at.head);
    scratch.m[r] = from.m;
    scratch.l[r] = from.l;
    if (from.o == nullptr) continue;
    float* const o = scratch.o + r * scratch.o_stride;
    for (std::int64_t c = 0; c < args.value_dim; ++c) o[c] = from.o[c];
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

inline void merge_states(const MergeArgs& args) {
  const StateRows<float>& to = args.merged;
  for (std::int64_t i = 0; i < args.rows; ++i) {
    merge_row(row_of(args.x, i, 0), row_of(args.y, i, 0), args.value_dim,
              to.m + i * to.m_token_stride, to.l + i * to.l_token_stride,
              to.o + i * to.o_token_stride);
  }
}

/// What is left of a state in out and lse: m = lse * log2 e, l = 1, o = out. An lse of -inf is no
/// part, NaN stays, and -FLT_MAX is a value (score_options.inl.hpp).
RAPT_INLINE RowState state_of_result(const StateRows<const float>& result, std::int64_t i) {
  const float lse = result.m[i * result.m_token_stride];
  const double m = static_cast<double>(lse) * kLog2E;
  const bool saturated = lse != -kInfinity && m < static_cast<double>(kLowest);
  return row_state(saturated ? kLowest : static_cast<float>(m), lse == -kInfinity ? 0.0f : 1.0f,
                   result.o + i * result.o_token_stride);
}

inline void merge_results(const MergeArgs& args) {
  const StateRows<float>& to = args.merged;
  for (std::int64_t i = 0; i < args.rows; ++i) {
    float m = 0.0f, l = 0.0f;
    float* out = to.o + i * to.o_token_stride;
    merge_row(state_of_result(args.x, i), state_of_result(args.y, i), args.value_dim, &m, &l, out);
    const float inverse = l == 0.0f ? 0.0f : 1.0f / l;
    for (std::int64_t c = 0; c < args.value_dim; ++c) {
      out[c] = canonical(__builtin_fmaf(out[c], inverse, 0.0f));
    }
    to.m[i * to.m_token_stride] = log_sum_exp(m, l);
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
