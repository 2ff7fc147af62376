// What was measured or estimated for how calls are cut into items and shared out: all such numbers
// above the kernels, each under what it weighs. None of them can change a bit. Those of the kernels
// are rows of kernels/tile/tuning.hpp.
#pragma once

#include <cstdint>

namespace rapt::tuning {

// --- threads

/// Below this many multiply-adds a call runs on its own thread. They take 2^14 cycles at AVX-512's
/// best of 32 a cycle, a few microseconds: what waking a sleeping worker costs by itself.
inline constexpr double kInlineWork = 1 << 19;
/// The share of its last item by which a thread is held up, in the mean: of two cuts that come out
/// even the finer one is better.
inline constexpr double kHeldUp = 0.25;

// --- attention

/// Floats of an item's running output (rows x value_dim) at most. K and V of a block are packed
/// once for all rows, so more of them make packing cheaper, until the output no longer stays in L2
/// next to the block.
inline constexpr std::int64_t kItemOutputFloats = std::int64_t{96} * 1024;
/// Rows of an item at least where there are keys to share out. Each item packs K and V anew, which
/// fewer rows do not repay: then the keys are cut instead, and each is packed once.
inline constexpr std::int64_t kLeastItemRows = 48;
/// Rows of products that take as long as packing a block of K and V.
inline constexpr double kPackRows = 8;
/// Queries of a sequence at most for it to take part in a cascade: more of them repay reading its
/// pages alone.
inline constexpr std::int64_t kCascadeQueries = 8;

// --- products

/// Rows of an item: their packed depth block (rows x kDepthBlock floats) stays in L2 beside a tile
/// of weights (linear_plan.hpp has the inequality).
inline constexpr std::int64_t kLinearItemRows = 192;
/// Panels of weights that take as long as packing an item's rows.
inline constexpr double kPackPanels = 0.25;

// --- rows

/// Tokens of an item that normalises or rotates rows.
inline constexpr std::int64_t kPartTokens = 256;

// --- the cache

/// Floats of new pages at a time: pages next to each other can share huge pages of memory.
inline constexpr std::int64_t kSlabFloats = std::int64_t{2} << 20;

}  // namespace rapt::tuning
