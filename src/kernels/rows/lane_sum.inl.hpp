// Sums over a row in the sixteen virtual lanes.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Lane t takes in value(x_d) for the d with d mod 16 = t, ascending, by lane = add(value, lane),
/// from 0; then the lanes are added pairwise. `value` maps vectors and single floats alike, and
/// add(0, lane) is lane.
template <class Value, class Add>
RAPT_INLINE float lane_sum(const float* x, std::int64_t width, const Value& value, const Add& add) {
  Vec lanes[kLaneVectors];
  RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) lanes[i] = Vec(0.0f);
  std::int64_t d = 0;
  for (; d + kLanes <= width; d += kLanes) {
    RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) {
      lanes[i] = add(value(load(x + d + i * kVecLanes)), lanes[i]);
    }
  }
  if (d < width) {
    alignas(64) float rest[kLanes] = {};  // a lane without a component takes in +0
    for (std::int64_t t = 0; d + t < width; ++t) rest[t] = value(x[d + t]);
    RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) {
      lanes[i] = add(load(rest + i * kVecLanes), lanes[i]);
    }
  }
  return reduce_sum(lanes);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
