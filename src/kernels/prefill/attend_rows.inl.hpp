// Rows of queries and keys in the form that is multiplied, normalised and rotated as the call
// requires.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/rows/rms_norm.inl.hpp"
#include "kernels/rows/rope.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/tile/element.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// y = x, normalised and then rotated, each if enabled.
RAPT_INLINE void normalize_and_rotate(const float* x, float* y, std::int64_t head_dim,
                                      const RowNorm& norm, const Rotation& rotation,
                                      std::int64_t position) {
  if (norm.on != 0) {
    normalize_row(x, y, head_dim, norm);
    x = y;
  }
  if (rotation.cos != nullptr) rotate_row(x, y, head_dim, rotation, position);
}

/// The position of token `token` of a batch index if given, otherwise `position`.
RAPT_INLINE std::int64_t given_position(const Positions& given, std::int64_t batch,
                                        std::int64_t token, std::int64_t position) {
  if (given.data == nullptr) return position;
  return given.data[batch * given.batch_stride + token * given.token_stride];
}

/// The query of a row of the group; in scratch.row if it is widened, normalised or rotated.
RAPT_INLINE const float* query_row(const AttendItem& item, const AttendScratch& scratch,
                                   RowPosition at) {
  const AttendCall& call = *item.call;
  const std::int64_t offset = at.query * call.q_token_stride + at.head * call.q_head_stride;
  const void* const from = element_at(item.q, call.q_type, offset);
  const float* q = static_cast<const float*>(from);
  if (call.q_type != ElementType::f32) {
    widen_row(from, call.q_type, call.head_dim, scratch.row);
    q = scratch.row;
  }
  if (!changes_queries(item)) return q;
  const SequencePlace& sequence = *item.sequence;
  const std::int64_t position =
      given_position(call.q_positions, sequence.batch, sequence.q_row + at.query,
                     sequence.query_offset + at.query);
  normalize_and_rotate(q, scratch.row, call.head_dim, call.norm_q, call.rotate_q, position);
  return scratch.row;
}

/// Rows of memory: key j of a block at first + j * stride.
struct KeyRows {
  const float* first;
  std::int64_t stride;
};

/// The keys `keys` of a block; in scratch.keys if they are widened, normalised or rotated.
RAPT_INLINE KeyRows key_rows(const AttendItem& item, const AttendScratch& scratch,
                             std::int64_t block, KeyRange keys) {
  const AttendCall& call = *item.call;
  const SequencePlace& sequence = *item.sequence;
  const std::int64_t first = block * kKeyBlock;
  const void* const k = element_at(item.k, call.k_type, first * call.k_stride);
  if (!copies_keys(item)) return {static_cast<const float*>(k), call.k_stride};
  for (std::int64_t j = keys.begin; j < keys.end; ++j) {
    float* const copy = scratch.keys + j * scratch.key_stride;
    const void* const from = element_at(k, call.k_type, j * call.k_stride);
    const float* row = static_cast<const float*>(from);
    if (call.k_type != ElementType::f32) {
      widen_row(from, call.k_type, call.head_dim, copy);
      row = copy;
    }
    if (!changes_keys(item)) continue;
    const std::int64_t position =
        given_position(call.k_positions, sequence.batch, sequence.kv_row + first + j, first + j);
    normalize_and_rotate(row, copy, call.head_dim, call.norm_k, call.rotate_k, position);
  }
  return {scratch.keys, scratch.key_stride};
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
