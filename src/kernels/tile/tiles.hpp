// Register and cache tiles, each with the inequality that justifies it.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/tile/tuning.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

constexpr int kRows = kShape.rows, kVectors = kShape.vectors;
/// Maxima: how many rows are used is in the call's Tuning.
constexpr int kQueryRows = static_cast<int>(kShape.tuning.query_rows);
constexpr int kStreamRows = static_cast<int>(kShape.tuning.stream_rows);
constexpr int kColumns = kVectors * kVecLanes;
constexpr int kPanelVectors = kPanel / kVecLanes;
constexpr bool kTileIsPanel = kColumns == kPanel;

// A register tile of R rows x C vectors holds R * C accumulators, C loaded vectors and one
// broadcast:
//   R * C + C + 1 <= registers;      R * C >= latency * FMAs per cycle (4 * 2), so that chains
//   overlap; R + C loads per R * C multiply-adds <= loads per cycle / FMAs per cycle = 1.
static_assert(kRows * kVectors + kVectors + 1 <= kRegisters);
static_assert(kRows * kVectors >= 8);
static_assert(kRows + kVectors <= kRows * kVectors);
static_assert(kPanel % kColumns == 0 && kKeyBlock % kPanel == 0 && kLanes % kVecLanes == 0);
static_assert(kQueryRows % kRows == 0);
static_assert(!kShape.half_score_tiles || kVectors == 2);
// Scores of a query tile and one block of K and V (head_dim 128) stay in a 1 MiB L2.
static_assert(4 * (kQueryRows * kKeyBlock + 2 * kKeyBlock * 128) <= 512 * 1024);

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
