// What an item prefetches into L2 while its tiles compute.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/tile/prefetcher.inl.hpp"
#include "kernels/tile/read_ahead.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

// Rows of a group are prefetched from its first head on, even if the item starts later.

inline void prefetch_queries(const AttendItem& item, Prefetcher& prefetcher) {
  const RowPosition at = position_of(item, item.row_begin);
  prefetcher.add(item.q + at.query * item.call->q_token_stride, at.head + item.rows,
                 item.call->head_dim, item.call->q_token_stride, item.call->group,
                 item.call->q_head_stride);
}

inline void prefetch_outputs(const AttendItem& item, Prefetcher& prefetcher) {
  const RowPosition at = position_of(item, item.row_begin);
  prefetcher.add(item.out + at.query * item.call->out_token_stride, at.head + item.rows,
                 item.call->value_dim, item.call->out_token_stride, item.call->group,
                 item.call->out_head_stride, true);
}

/// The prefetch policy of the decode path over panels: tiles read ahead themselves, and nothing is
/// prefetched between them.
struct PanelStream {
  std::int64_t distance;
  RAPT_INLINE PanelsAheadBy in_tile() const { return {distance}; }
  RAPT_INLINE void step() {}
};

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
