// The first and last step of every item on either route: packing queries, writing outputs.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/functions.hpp"
#include "kernels/prefill/attend_rows.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/tile/pack.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

inline void pack_queries(const AttendItem& item, const AttendScratch& scratch) {
  for (std::int64_t r = 0; r < item.rows; ++r) {
    const RowPosition at = position_of(item, item.row_begin + r);
    pack_scaled_row(query_row(item, scratch, at), item.call->head_dim, item.call->scale,
                    scratch.q + r / kRows * scratch.q_tile + r % kRows * kLanes);
  }
}

inline void finish_rows(const AttendItem& item, const AttendScratch& scratch) {
  if (ends_plainly(item) && finish_plain_rows(item, scratch)) return;
  for (std::int64_t r = 0; r < item.rows; ++r) {
    if (!finish_row(item, scratch, r, false)) attend_row_exactly(item, r, scratch.after);
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
