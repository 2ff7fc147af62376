// States that are passed on: a row's (m, l, o) read from and written to the caller's memory, and
// two of them merged.
#pragma once

#include "kernels/attend_scratch.inl.hpp"
#include "kernels/finish.inl.hpp"
#include "kernels/kernel_set.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The state before the first block: none, or the one to go on from.
inline void begin_state(const AttendArgs& args, const AttendScratch& scratch) {
  clear_state(args, scratch);
  const StateRows<const float>& from = args.state_in;
  if (from.o == nullptr) return;
  for (std::int64_t r = 0; r < args.rows; ++r) {
    const auto [i, h] = position_of(args, args.row_begin + r);
    scratch.m[r] = from.m[i * from.m_token_stride + h * from.m_head_stride];
    scratch.l[r] = from.l[i * from.l_token_stride + h * from.l_head_stride];
    const float* o = from.o + i * from.o_token_stride + h * from.o_head_stride;
    for (std::int64_t c = 0; c < args.value_dim; ++c) scratch.o[r * scratch.o_stride + c] = o[c];
  }
}

/// One row of the fold: (m, l, o) takes in (block_m, block_l, block_o).
struct RowState {
  float m, l;
  const float* o;
};

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
    const float from_y = y.o[c] * b[0];
    o[c] = canonical(__builtin_fmaf(x.o[c], a[0], from_y) + 0.0f);
  }
}

RAPT_INLINE RowState row_of(const StateRows<const float>& state, std::int64_t i) {
  return {state.m[i * state.m_token_stride], state.l[i * state.l_token_stride],
          state.o + i * state.o_token_stride};
}

inline void merge_states(const MergeArgs& args) {
  const StateRows<float>& to = args.merged;
  for (std::int64_t i = 0; i < args.rows; ++i) {
    merge_row(row_of(args.x, i), row_of(args.y, i), args.value_dim, to.m + i * to.m_token_stride,
              to.l + i * to.l_token_stride, to.o + i * to.o_token_stride);
  }
}

/// What is left of a state in out and lse: m = lse * log2 e, l = 1, o = out. An lse of -inf is no
/// state, NaN stays, and -FLT_MAX is a value (score_options.inl.hpp).
RAPT_INLINE RowState state_of_result(const StateRows<const float>& result, std::int64_t i) {
  const float lse = result.m[i * result.m_token_stride];
  const float* o = result.o + i * result.o_token_stride;
  if (lse == -kInfinity) return {lse, 0.0f, o};
  if (!(lse == lse)) return {-kInfinity, lse, o};
  const float m = static_cast<float>(static_cast<double>(lse) * kLog2E);
  return {m < kLowest ? kLowest : m, 1.0f, o};
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
