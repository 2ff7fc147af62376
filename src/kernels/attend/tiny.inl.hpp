// A work item of up to 8 keys and 16 rows without options other than a range mask, all in f32: a
// call of a few tokens. Overhead, not arithmetic, dominates it: there are no tiles, no panels and
// no running state, and a row's scores stay in registers until they are weights. (Zen 5, 5 tokens,
// 4 heads of 4: tiles take 1.69 of the time with AVX-512, 1.76 with AVX2, 1.39 with scalar code.)
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/prefill/query_tile.inl.hpp"
#include "kernels/prefill/score_options.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Beyond these limits tiles are faster (Zen 4, AVX-512 and AVX2: 8 keys take 0.8 of their time, 16
/// keys 1.0 to 1.5; 64 rows 1.1).
constexpr std::int64_t kTinyKeys = 8, kTinyRows = 16;
/// Longer rows only for fewer of them: floats of K, which are transposed one by one, and sequential
/// steps of all rows.
constexpr std::int64_t kTinyKeyFloats = 256, kTinySteps = 512;
/// Vectors that hold the scores of a row.
constexpr int kTinyVectors = kVecLanes < kTinyKeys ? kTinyKeys / kVecLanes : 1;
constexpr std::int64_t kTinyLanes = kTinyVectors * kVecLanes;
static_assert(kTinyKeys <= kTinyLanes && kTinyLanes <= kLanes);
/// Transposed keys, weights and an output fit into any item's scratch memory.
static_assert((kTinyKeyFloats + 1) * kTinyLanes + kTinyKeyFloats <= kQueryRows * kKeyBlock);

/// Sizes first: they exclude most items without a look at the options.
RAPT_INLINE bool is_tiny(const AttendItem& item) {
  const AttendCall& call = *item.call;
  const std::int64_t dim = call.head_dim > call.value_dim ? call.head_dim : call.value_dim;
  const bool small = (item.visible.kv_len <= kTinyKeys) & (item.rows <= kTinyRows) &
                     (dim <= kTinyKeyFloats) & (call.storage == KeyStorage::rows);
  if (!small) return false;
  const bool fits = (item.visible.kv_len * dim <= kTinyKeyFloats) & (item.rows * dim <= kTinySteps);
  const bool floats = (call.q_type == ElementType::f32) & (call.k_type == ElementType::f32) &
                      (call.v_type == ElementType::f32) & (call.out_type == ElementType::f32);
  const bool ends_here = floats & (item.states == nullptr) & (call.weights.data == nullptr) &
                         (call.state_in.o.data == nullptr) & (call.state_out.o.data == nullptr);
  return fits && ends_here && !changes_scores(item) && !changes_queries(item) &&
         !changes_keys(item);
}

/// Transposes the keys: to[d * kTinyLanes + j] = k[j * stride + d], or 0 if there is no key j.
RAPT_INLINE void transpose_keys(const AttendItem& item, KeyRange keys, float* to) {
  const std::int64_t head_dim = item.call->head_dim;
  for (std::int64_t i = 0; i < head_dim * kTinyLanes; i += kVecLanes) store(to + i, Vec(0.0f));
  for (std::int64_t j = keys.begin; j < keys.end; ++j) {
    const float* k = static_cast<const float*>(item.k) + j * item.call->k_stride;
    for (std::int64_t d = 0; d < head_dim; ++d) to[d * kTinyLanes + j] = k[d];
  }
}

/// The weights of a query for the keys `seen`, at least one, in p; m and l of the row.
RAPT_INLINE void tiny_weights(const float* q, const float* k, std::int64_t head_dim, float scale,
                              KeyRange seen, float* p, float& m, float& l) {
  Vec s[kLaneVectors], top[kLaneVectors];
  RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) {
    s[i] = Vec(0.0f);
    top[i] = Vec(-kInfinity);
  }
  for (std::int64_t d = 0; d < head_dim; ++d) {
    const Vec scaled(q[d] * scale);
    RAPT_UNROLL for (int i = 0; i < kTinyVectors; ++i) {
      s[i] = fma(scaled, load(k + d * kTinyLanes + i * kVecLanes), s[i]);
    }
  }
  const Vec first(static_cast<float>(seen.begin)), end(static_cast<float>(seen.end));
  const Vec hidden(-kInfinity);
  RAPT_UNROLL for (int i = 0; i < kTinyVectors; ++i) {
    const Vec lane = lane_numbers(i * kVecLanes);
    s[i] = select_less(lane, first, hidden, select_less(lane, end, s[i], hidden));
    top[i] = s[i];
  }
  m = reduce_max(top);
  // Vectors without keys would add weights of 0: x + 0 is x.
  RAPT_UNROLL for (int i = 0; i < kTinyVectors; ++i) {
    s[i] = exp2(s[i] - Vec(m));
    store(p + i * kVecLanes, s[i]);
  }
  l = reduce_sum(s);
}

/// o = the sum of p_j v_j over the keys `seen`, in whole vectors. v: the values of key 0.
RAPT_INLINE void tiny_values(const float* p, const float* v, std::int64_t v_stride,
                             std::int64_t value_dim, KeyRange seen, float* o) {
  for (std::int64_t c = 0; c < value_dim; c += kVecLanes) {
    const std::int64_t left = value_dim - c;
    Vec sum(0.0f);
    if (left >= kVecLanes) {
      for (std::int64_t j = seen.begin; j < seen.end; ++j) {
        sum = fma(Vec(p[j]), load(v + j * v_stride + c), sum);
      }
    } else {
      for (std::int64_t j = seen.begin; j < seen.end; ++j) {
        sum = fma(Vec(p[j]), load_first(v + j * v_stride + c, left), sum);
      }
    }
    store(o + c, sum);
  }
}

/// Calls again(r) for rows that must be computed exactly, among them those without a finite
/// maximum: their weights are NaN. Out of line: inlined next to the tiles, the compiler treats it
/// as cold code and optimises for size.
template <class Again>
__attribute__((noinline)) void attend_tiny(const AttendItem& item, float* scratch,
                                           const Again& again) {
  float* const k = scratch;
  float* const p = k + item.call->head_dim * kTinyLanes;
  float* const o = p + kTinyLanes;
  const KeyRange keys = visible_to_rows(item, item.row_begin, item.rows, 0);
  const std::int64_t end = item.row_begin + item.rows;
  const KeyRange first = visible_to_rows(item, item.row_begin, 1, 0);
  const KeyRange last = visible_to_rows(item, end - 1, 1, 0);
  const bool uniform = first.begin == last.begin && first.end == last.end;
  transpose_keys(item, keys, k);
  for (std::int64_t row = item.row_begin; row < end; ++row) {
    const RowPosition at = position_of(item, row);
    const KeyRange seen = uniform ? keys : visible_keys(item, at.query, at.query, 0);
    const float* q = static_cast<const float*>(item.q) + at.query * item.call->q_token_stride +
                     at.head * item.call->q_head_stride;
    float m = -kInfinity, l = 0.0f;
    if (seen.begin < seen.end) {
      tiny_weights(q, k, item.call->head_dim, item.call->scale, seen, p, m, l);
    }
    tiny_values(p, static_cast<const float*>(item.v), item.call->v_stride, item.call->value_dim,
                seen, o);
    if (!finish_outputs(item, row, o, m, l, false, nullptr)) again(row - item.row_begin);
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
