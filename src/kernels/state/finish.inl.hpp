// The running state (m, l, o) of a row: folding blocks into it, saving it, computing outputs from
// it.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/tile/element.inl.hpp"
#include "kernels/vec/exp2.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Row r of a kv head's group: query r / group, head r % group.
struct RowPosition {
  std::int64_t query, head;
};

RAPT_INLINE RowPosition position_of(const AttendItem& item, std::int64_t row) {
  if (item.call->group == 1) return {row, 0};  // spares a short row the division
  return {row / item.call->group, row % item.call->group};
}

/// Elements from the first one of one of the call's tensors to a row.
template <class T>
RAPT_INLINE std::int64_t row_offset(const HeadRows<T>& rows, const AttendItem& item,
                                    RowPosition at) {
  const SequencePlace& sequence = *item.sequence;
  return sequence.batch * rows.batch_stride + (item.first_head + at.head) * rows.head_stride +
         (sequence.q_row + at.query) * rows.token_stride;
}

/// The first element of a row.
template <class T>
RAPT_INLINE T* row_at(const HeadRows<T>& rows, const AttendItem& item, RowPosition at) {
  return rows.data + row_offset(rows, item, at);
}

inline void clear_rows(const AttendScratch& scratch) {
  for (std::int64_t r = 0; r < scratch.rows; ++r) {
    scratch.m[r] = -kInfinity;
    scratch.l[r] = 0.0f;
  }
}

inline void clear_state(const AttendItem& item, const AttendScratch& scratch) {
  for (std::int64_t i = 0; i < item.rows * scratch.o_stride; i += kVecLanes) {
    store(scratch.o + i, Vec(0.0f));
  }
  clear_rows(scratch);
}

RAPT_INLINE void* output_row(const AttendItem& item, RowPosition at) {
  const AttendCall& call = *item.call;
  return element_at(item.out, call.out_type,
                    at.query * call.out_token_stride + at.head * call.out_head_stride);
}

RAPT_INLINE bool narrows_outputs(const AttendItem& item) {
  return item.call->out_type != ElementType::f32;
}

/// m' = max(m, m_b), a = exp2(m - m'), b = exp2(m_b - m'), l = fma(l, a, l_b b), for `rows` rows; m
/// and l are updated. Folding into the empty state (-inf, 0) copies: a = 0, b = 1.
inline void fold_coefficients(float* m, float* l, float* block_m, float* block_l, std::int64_t rows,
                              float* a, float* b) {
  // The rest of the last vector is unused scratch memory: it folds empty blocks.
  for (std::int64_t r = 0; r < rows; r += kVecLanes) {
    const Vec mv = load(m + r);
    Vec bm = load(block_m + r);
    if (r + kVecLanes > rows) bm = keep_lanes(bm, r, 0, rows, Vec(-kInfinity));
    // (-inf) - (-inf) is invalid.
    const Vec top = max_ignoring_nan(max_ignoring_nan(mv, bm), Vec(kLowest));
    const Vec av = exp2(mv - top), bv = exp2(bm - top);
    store(a + r, av);
    store(b + r, bv);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    // A block without a finite maximum does not change the state, unless it contains a NaN, which
    // then is in block_l and in the weights.
    if (block_m[r] == -kInfinity) {
      a[r] = 1.0f;
      b[r] = block_l[r] == 0.0f ? 0.0f : 1.0f;
    }
    l[r] = __builtin_fmaf(l[r], a[r], block_l[r] * b[r]);
    m[r] = block_m[r] > m[r] ? block_m[r] : m[r];
  }
}

/// Floats from the first state of an item's rows to that of row r after one block.
RAPT_INLINE std::int64_t state_offset(const AttendItem& item, std::int64_t block, std::int64_t r) {
  return (block * item.rows + r) * item.call->state_stride;
}

inline void save_state(const AttendItem& item, const AttendScratch& scratch, std::int64_t block) {
  for (std::int64_t r = 0; r < item.rows; ++r) {
    float* to = item.states + state_offset(item, block, r);
    const float* o = scratch.o + r * scratch.o_stride;
    for (std::int64_t c = 0; c < scratch.o_stride; c += kVecLanes) store(to + c, load(o + c));
    to[scratch.o_stride] = scratch.m[r];
    to[scratch.o_stride + 1] = scratch.l[r];
  }
}

inline void fold_states(const FoldArgs& args, const AttendScratch& scratch) {
  const AttendItem& item = args.item;
  for (std::int64_t r = 0; r < item.rows; ++r) {
    float* o = scratch.o + r * scratch.o_stride;
    for (std::int64_t block = item.block_begin; block < item.block_end; ++block) {
      const float* from = args.states + state_offset(item, block, r);
      // The row saw no key of the block: skip it, as hidden values may be in its o.
      if (from[scratch.o_stride] == -kInfinity && from[scratch.o_stride + 1] == 0.0f) continue;
      float block_m[kVecLanes] = {from[scratch.o_stride]};
      float block_l[kVecLanes] = {from[scratch.o_stride + 1]};
      float m[kVecLanes] = {scratch.m[r]}, l[kVecLanes] = {scratch.l[r]};
      float a[kVecLanes], b[kVecLanes];
      fold_coefficients(m, l, block_m, block_l, 1, a, b);
      scratch.m[r] = m[0];
      scratch.l[r] = l[0];
      for (std::int64_t c = 0; c < scratch.o_stride; c += kVecLanes) {
        store(o + c, fma(load(o + c), Vec(a[0]), load(from + c) * Vec(b[0])));
      }
    }
  }
}

/// The destination of the row's weights, or null if they are not requested.
RAPT_INLINE float* weights_row(const AttendItem& item, std::int64_t row) {
  const RowPosition at = position_of(item, row);
  const AttendCall& call = *item.call;
  const std::int64_t q_row = item.sequence->q_row + at.query;
  const std::int64_t i = call.weights_rows == nullptr ? q_row : call.weights_rows[q_row];
  if (i < 0) return nullptr;
  return row_at(call.weights, item, {i - item.sequence->q_row, at.head});
}

/// Stores row r's weights of one block; finish_weights() scales them by the final state.
inline void keep_weights(const AttendItem& item, const AttendScratch& scratch, std::int64_t r,
                         std::int64_t block, KeyRange seen, float* row) {
  float* w = weights_row(item, item.row_begin + r);
  if (w == nullptr) return;
  w += block * kKeyBlock;
  for (std::int64_t j = seen.begin; j < seen.end; ++j) w[j] = *score_of(row, j);
  scratch.block_max[r * scratch.blocks + block] =
      scratch.block_m[r % item.call->tuning->query_rows];
}

/// Before the first block no key exists: a weight of -0, see finish_weights().
inline void clear_weights(const AttendItem& item, const AttendScratch& scratch) {
  if (item.call->weights.data == nullptr) return;
  for (std::int64_t r = 0; r < item.rows; ++r) {
    float* w = weights_row(item, item.row_begin + r);
    if (w == nullptr) continue;
    for (std::int64_t j = 0; j < item.call->weights_keys; ++j) w[j] = -0.0f;
    for (std::int64_t b = 0; b < scratch.blocks; ++b) {
      scratch.block_max[r * scratch.blocks + b] = -kInfinity;
    }
  }
}

/// w_j = p_j * (exp2(m_b - m) * (1 / l)), block by block; 0 if p_j is -0: the key does not exist.
/// Without NaNs (`exact` unset) a block with a maximum of -inf is empty.
inline void finish_weights(const AttendItem& item, const AttendScratch& scratch, std::int64_t r,
                           float m, float inverse, bool exact) {
  float* w = weights_row(item, item.row_begin + r);
  if (w == nullptr) return;
  for (std::int64_t block = 0; block < scratch.blocks; ++block) {
    const float block_max = scratch.block_max[r * scratch.blocks + block];
    const bool nothing = block_max == -kInfinity, empty = !exact && nothing;  // or only NaNs
    const float factor = nothing ? 0.0f : exp2_scalar(block_max - m) * inverse;
    const std::int64_t begin = block * kKeyBlock;
    const std::int64_t end =
        begin + kKeyBlock < item.visible.kv_len ? begin + kKeyBlock : item.visible.kv_len;
    for (std::int64_t j = begin; j < end; ++j) {
      const bool exists = !empty && __builtin_bit_cast(std::uint32_t, w[j]) != 0x80000000u;
      w[j] = exists ? canonical(w[j] * factor) : 0.0f;
    }
  }
  for (std::int64_t j = item.visible.kv_len; j < item.call->weights_keys; ++j) w[j] = 0.0f;
}

/// Adds the sink to the row's state, last, as a key without a value. Returns the factor a of o =
/// fma(o, a, 0), which finish_out() applies.
RAPT_INLINE float join_sink(const AttendItem& item, std::int64_t head, float& m, float& l) {
  if (item.call->sinks == nullptr) return 1.0f;
  const float sink = item.call->sinks[item.first_head + head];
  if (sink == -kInfinity) return 1.0f;
  const bool empty = m == -kInfinity && l == 0.0f;
  const float top = sink > m ? sink : m;
  const float a = empty ? 0.0f : exp2_scalar(m - top);
  l = __builtin_fmaf(l, a, exp2_scalar(sink - top));
  m = top;
  return a;
}

/// The factor of a row's sums, 0 if it attends to no key.
RAPT_INLINE float inverse_of(float m, float l) {
  const bool empty = m == -kInfinity && l == 0.0f;
  return empty ? 0.0f : 1.0f / l;
}

/// 1 / l of several rows; 1 if l is 0: the row has no key, and its o is 0.
RAPT_INLINE Vec inverses_of(Vec l) {
  return divide(Vec(1.0f), select_less(Vec(0.0f), l, l, Vec(1.0f)));
}

/// out = fma(o, 1 / l, 0): the sum turns -0 into +0, so that no sign depends on hidden keys. o is
/// padded with 0 to a whole vector. `largest` collects magnitudes, by their bits, for a check that
/// all are finite.
RAPT_INLINE void finish_out(const float* o, float a, float inverse, std::int64_t value_dim,
                            float* out, Vec& largest) {
  const Vec keep(a), scale(inverse);
  std::int64_t c = 0;
  for (; c + kVecLanes <= value_dim; c += kVecLanes) {
    const Vec y = fma(fma(load(o + c), keep, Vec(0.0f)), scale, Vec(0.0f));
    store(out + c, y);
    largest = max_magnitude(absolute(y), largest);
  }
  if (c < value_dim) {  // o is padded with 0
    const Vec y = fma(fma(load(o + c), keep, Vec(0.0f)), scale, Vec(0.0f));
    store_first(out + c, y, value_dim - c);
    largest = max_magnitude(absolute(y), largest);
  }
}

/// Writes the row's state for the caller, without the sink. Adding +0 turns -0 into +0, as in out:
/// the maximum of -0 and +0 may be either.
inline void write_state(const AttendItem& item, RowPosition at, const float* o, float m, float l) {
  const StateRows<float>& to = item.call->state_out;
  if (to.o.data == nullptr) return;
  *row_at(to.m, item, at) = m + 0.0f;
  *row_at(to.l, item, at) = canonical(l);
  float* row = row_at(to.o, item, at);
  for (std::int64_t c = 0; c < item.call->value_dim; ++c) row[c] = canonical(o[c] + 0.0f);
}

RAPT_INLINE void write_lse(const AttendItem& item, RowPosition at, float m, float l) {
  *row_at(item.call->lse, item, at) = log_sum_exp(m, l);
}

/// The place of a row's m and 1 / l for the sums of weights.
RAPT_INLINE float* row_end_of(const AttendItem& item, std::int64_t row) {
  const AttendCall& call = *item.call;
  const std::int64_t head = item.first_head / call.group;
  const std::int64_t q_row =
      (item.sequence->batch * call.row_end_heads + head) * call.row_end_rows + item.sequence->q_row;
  return call.row_ends + 2 * (q_row * call.group + row);
}

/// Writes out, lse and row end of a row with state (m, l, o), and adds the sink to m and l. Returns
/// false if the row is not finite and `exact` is false: then it must be computed again, exactly.
/// wide: for a row of results that are narrowed.
RAPT_INLINE bool finish_outputs(const AttendItem& item, std::int64_t row, const float* o, float& m,
                                float& l, bool exact, float* wide) {
  const RowPosition at = position_of(item, row);
  const float a = join_sink(item, at.head, m, l);
  const bool narrows = narrows_outputs(item);
  float* const out = narrows ? wide : static_cast<float*>(output_row(item, at));
  Vec largest(0.0f);
  finish_out(o, a, inverse_of(m, l), item.call->value_dim, out, largest);
  const bool finite = all_below(largest, Vec(kInfinity)) && l - l == 0.0f;
  if (!finite && !exact) return false;
  if (exact) {
    for (std::int64_t c = 0; c < item.call->value_dim; ++c) out[c] = canonical(out[c]);
  }
  if (narrows) narrow_row(out, item.call->value_dim, item.call->out_type, output_row(item, at));
  if (item.call->lse.data != nullptr) write_lse(item, at, m, l);
  if (item.call->row_ends != nullptr) {
    float* const end = row_end_of(item, row);
    end[0] = m;
    end[1] = inverse_of(m, l);
  }
  return true;
}

/// Writes every output of row r of the item; returns as finish_outputs().
inline bool finish_row(const AttendItem& item, const AttendScratch& scratch, std::int64_t r,
                       bool exact) {
  const std::int64_t row = item.row_begin + r;
  const float* o = scratch.o + r * scratch.o_stride;
  float m = scratch.m[r], l = scratch.l[r];
  write_state(item, position_of(item, row), o, m, l);
  if (!finish_outputs(item, row, o, m, l, exact, scratch.out)) return false;
  if (item.call->weights.data != nullptr)
    finish_weights(item, scratch, r, m, inverse_of(m, l), exact);
  return true;
}

/// Whether only out and lse are requested, and no sink is added.
RAPT_INLINE bool ends_plainly(const AttendItem& item) {
  return item.call->sinks == nullptr && item.call->state_out.o.data == nullptr &&
         item.call->row_ends == nullptr && item.call->weights.data == nullptr;
}

/// Writes the outputs of all rows of such an item. Returns false if any row is not finite: one
/// check at the end instead of one per row.
inline bool finish_plain_rows(const AttendItem& item, const AttendScratch& scratch) {
  const bool narrows = narrows_outputs(item);
  Vec largest(0.0f);
  for (std::int64_t first = 0; first < item.rows; first += kVecLanes) {
    float inverse[kVecLanes];
    store(inverse, inverses_of(load(scratch.l + first)));
    const std::int64_t end = first + kVecLanes < item.rows ? first + kVecLanes : item.rows;
    for (std::int64_t r = first; r < end; ++r) {
      const RowPosition at = position_of(item, item.row_begin + r);
      void* const row = output_row(item, at);
      float* const out = narrows ? scratch.out : static_cast<float*>(row);
      finish_out(scratch.o + r * scratch.o_stride, 1.0f, inverse[r - first], item.call->value_dim,
                 out, largest);
      if (narrows) narrow_row(out, item.call->value_dim, item.call->out_type, row);
      largest = max_magnitude(absolute(Vec(scratch.l[r])), largest);
      if (item.call->lse.data != nullptr) write_lse(item, at, scratch.m[r], scratch.l[r]);
    }
  }
  return all_below(largest, Vec(kInfinity));
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
