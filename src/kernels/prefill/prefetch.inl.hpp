// What an item prefetches into L2 while its tiles compute.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/tile/prefetcher.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

// Rows of a group are prefetched from its first head on, even if the item starts later.

inline void prefetch_queries(const AttendItem& item, Prefetcher& prefetcher) {
  const RowPosition at = position_of(item, item.row_begin);
  const AttendCall& call = *item.call;
  prefetcher.add(element_at(item.q, call.q_type, at.query * call.q_token_stride), call.q_type,
                 at.head + item.rows, call.head_dim, call.q_token_stride, call.group,
                 call.q_head_stride);
}

inline void prefetch_outputs(const AttendItem& item, Prefetcher& prefetcher) {
  const RowPosition at = position_of(item, item.row_begin);
  const AttendCall& call = *item.call;
  prefetcher.add(element_at(item.out, call.out_type, at.query * call.out_token_stride),
                 call.out_type, at.head + item.rows, call.value_dim, call.out_token_stride,
                 call.group, call.out_head_stride, true);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
