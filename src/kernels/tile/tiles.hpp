// Register and cache tiles of each ISA, each with the inequality that justifies it.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

// A register tile of R rows x C vectors holds R * C accumulators, C loaded vectors and one
// broadcast:
//   R * C + C + 1 <= registers;      R * C >= latency * FMAs per cycle (4 * 2), so that chains
//   overlap; R + C loads per R * C multiply-adds <= loads per cycle / FMAs per cycle = 1.
#if defined(RAPT_KERNEL_ISA_AVX512)
constexpr int kRegisters = 32;
constexpr int kRows = 12, kVectors = 2;
constexpr int kQueryRows = 192;
constexpr int kFewRows = 8;
#elif defined(RAPT_KERNEL_ISA_AVX2)
constexpr int kRegisters = 16;
constexpr int kRows = 6, kVectors = 2;
constexpr int kQueryRows = 192;
constexpr int kFewRows = 6;
#elif defined(RAPT_KERNEL_ISA_NEON)
constexpr int kRegisters = 32;
constexpr int kRows = 8, kVectors = 2;
constexpr int kQueryRows = 192;
constexpr int kFewRows = 8;
#else
constexpr int kRegisters = 16;
constexpr int kRows = 2, kVectors = 4;
constexpr int kQueryRows = 32;
constexpr int kFewRows = 2;
#endif

constexpr int kColumns = kVectors * kVecLanes;
constexpr int kPanelVectors = kPanel / kVecLanes;

static_assert(kRows * kVectors + kVectors + 1 <= kRegisters);
static_assert(kRows * kVectors >= 8);
static_assert(kRows + kVectors <= kRows * kVectors);
static_assert(kPanel % kColumns == 0 && kKeyBlock % kPanel == 0 && kLanes % kVecLanes == 0);
static_assert(kQueryRows % kRows == 0);
// Scores of a query tile and one block of K and V (head_dim 128) stay in a 1 MiB L2.
static_assert(4 * (kQueryRows * kKeyBlock + 2 * kKeyBlock * 128) <= 512 * 1024);

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
