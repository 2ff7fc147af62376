// Rows of queries and keys as they are multiplied: normalised and rotated where that is wanted.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/rows/rms_norm.inl.hpp"
#include "kernels/rows/rope.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// y = x, normalised and then rotated, as far as either is wanted.
RAPT_INLINE void change_row(const float* x, float* y, std::int64_t head_dim, const RowNorm& norm,
                            const Rotation& rotation, std::int64_t row) {
  if (norm.on != 0) {
    normalize_row(x, y, head_dim, norm);
    x = y;
  }
  if (rotation.cos != nullptr) rotate_row(x, y, head_dim, rotation, row);
}

/// The query of a row of the group, in scratch.row when it was changed.
RAPT_INLINE const float* query_row(const AttendArgs& args, const AttendScratch& scratch,
                                   RowPosition at) {
  const float* q = args.q + at.query * args.q_token_stride + at.head * args.q_head_stride;
  if (!changes_queries(args)) return q;
  change_row(q, scratch.row, args.head_dim, args.norm_q, args.rotate_q, at.query);
  return scratch.row;
}

/// Rows of memory: key j of a block at first + j * stride.
struct KeyRows {
  const float* first;
  std::int64_t stride;
};

/// The keys `keys` of a block, in scratch.keys when they were changed.
RAPT_INLINE KeyRows key_rows(const AttendArgs& args, const AttendScratch& scratch,
                             std::int64_t block, KeyRange keys) {
  const std::int64_t first = block * kKeyBlock;
  const float* k = args.k + first * args.k_stride;
  if (!changes_keys(args)) return {k, args.k_stride};
  for (std::int64_t j = keys.begin; j < keys.end; ++j) {
    change_row(k + j * args.k_stride, scratch.keys + j * scratch.key_stride, args.head_dim,
               args.norm_k, args.rotate_k, first + j);
  }
  return {scratch.keys, scratch.key_stride};
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
