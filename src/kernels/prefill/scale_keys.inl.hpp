// The scales of bytes: those of keys multiply the scores, those of values the weights.
#pragma once

#include "kernels/prefill/query_tile.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

RAPT_INLINE float* scores_of_row(const AttendScratch& scratch, std::int64_t r) {
  return scratch.s + r / kRows * kRows * kKeyBlock + r % kRows * kLanes;
}

/// Multiplies each key's scores, or weights, of all rows by its scale.
RAPT_NOINLINE inline void scale_keys(const AttendScratch& scratch, const QueryTile& tile,
                                     const float* scales) {
  const LineRange lines(tile.keys);
  for (std::int64_t line = lines.first; line < lines.last; ++line) {
    RAPT_UNROLL for (int i = 0; i < kLanes; i += kVecLanes) {
      const Vec scale = load(scales + line * kLanes + i);
      for (std::int64_t r = 0; r < tile.rows; ++r) {
        float* const at = scores_of_row(scratch, r) + line * kTileChunk + i;
        store(at, load(at) * scale);
      }
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
