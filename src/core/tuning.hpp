// How calls are cut into items and shared over threads: all measured or estimated numbers above the
// kernels, each under its reason. None changes a bit of a result. The kernels' numbers are rows of
// kernels/tile/tuning.hpp.
#pragma once

#include <cstdint>

namespace rapt::tuning {

/// What a tuning file may replace (docs/tuning.md); these are the defaults.
struct CallTuning {
  /// A call with fewer multiply-adds runs on its own thread. They take 2^14 cycles at AVX-512's
  /// peak of 32 per cycle: a few microseconds, about the cost of waking one sleeping worker.
  std::int64_t inline_work = 1 << 19;
  /// Attention: maximum floats of an item's running output (rows x value_dim). K and V of a block
  /// are packed once for all rows of an item, so more rows make packing cheaper, until output and
  /// block no longer fit L2.
  std::int64_t item_output_floats = std::int64_t{96} * 1024;
  /// Attention: minimum rows of an item if its keys can be split. Each item packs K and V again,
  /// which fewer rows do not repay: the keys are then split instead, and each is packed once.
  std::int64_t min_item_rows = 48;
  /// Products: rows of an item. Their packed depth block (rows x kDepthBlock floats) stays in L2
  /// alongside a tile of weights (inequality in linear_plan.hpp).
  std::int64_t linear_item_rows = 192;

  /// Whether to share this many multiply-adds over threads.
  constexpr bool wakes_threads(double multiply_adds) const {
    return multiply_adds >= static_cast<double>(inline_work);
  }
};

// --- threads

/// The mean delay of a thread, as a share of its last item: of two cuts with equal totals the finer
/// one wins.
inline constexpr double kMeanDelay = 0.25;

// --- attention

/// Packing a block of K and V takes as long as the products of this many rows.
inline constexpr double kPackRows = 8;
/// Maximum queries of a sequence in a cascade; with more, reading its pages alone pays off.
inline constexpr std::int64_t kCascadeQueries = 8;

// --- products

/// Packing an item's rows takes as long as the products of this many panels.
inline constexpr double kPackPanels = 0.25;

// --- rows

/// Tokens of an item that normalises or rotates rows.
inline constexpr std::int64_t kPartTokens = 256;

// --- the cache

/// Floats of new pages per allocation: contiguous pages can share huge pages of memory.
inline constexpr std::int64_t kSlabFloats = std::int64_t{2} << 20;

}  // namespace rapt::tuning
