// Loops that measure the limits of the machine with the vectors of an ISA, for the tools:
// multiply-adds alone, and reads alone.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Latency 4 or 5 cycles times 2 FMA ports needs 8 to 10 chains in flight; 12 and the two operands
/// fit the 16 registers of AVX2.
inline float fma_chains(std::int64_t steps) {
  // a = a / 2 + 1 tends to 2: no overflow, no subnormals, and no constant that a compiler could
  // fold.
  const Vec factor(0.5f), addend(1.0f);
  Vec a[kFmaChains];
  for (int i = 0; i < kFmaChains; ++i) a[i] = Vec(static_cast<float>(i));
  for (std::int64_t n = 0; n < steps; ++n) {
    RAPT_UNROLL for (int i = 0; i < kFmaChains; ++i) a[i] = fma(a[i], factor, addend);
  }
  float sum = 0.0f;
  for (int i = 0; i < kFmaChains; ++i) sum += sum_lanes(a[i]);
  return sum;
}

/// One step of a stream is four cache lines.
inline float read_floats(const ReadArgs& args) {
  constexpr int kLines = 4, kStep = kLines * kLanes, kVectorsOfStep = kStep / kVecLanes;
  Vec sums[kVectorsOfStep];
  for (Vec& sum : sums) sum = Vec(0.0f);
  const std::int64_t part = args.count / args.streams;
  const float* const end = args.from + args.count;
  for (std::int64_t i = 0; i < part; i += kStep) {
    for (const float* p = args.from + i; p < end; p += part) {
      if (args.ahead != 0) {
        // Into L2, not L1: a line prefetched 8 KiB ahead is often evicted from L1 before its use.
        RAPT_UNROLL for (int line = 0; line < kLines; ++line) {
          __builtin_prefetch(p + args.ahead + line * kLanes, 0, 2);
        }
      }
      RAPT_UNROLL for (int j = 0; j < kVectorsOfStep; ++j) {
        sums[j] = sums[j] + load(p + j * kVecLanes);
      }
    }
  }
  for (int j = 1; j < kVectorsOfStep; ++j) sums[0] = sums[0] + sums[j];
  return sum_lanes(sums[0]);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
