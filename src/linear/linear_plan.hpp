// The plan of a matrix product: how its rows and panels are divided into items. A pure function of
// sizes and thread count; any plan gives the same bits.
#pragma once

#include "core/tuning.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "parallel/balance.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace rapt {

static_assert((tuning::CallTuning().linear_item_rows + kernels::kPanel) * kernels::kDepthBlock *
                  4 <=
              (1 << 19));

/// Items are row_items x column_items; item i has rows [i / column_items * item_rows, ...)
/// and panels [i % column_items * item_panels, ...).
struct LinearPlan {
  std::int64_t row_items;
  std::int64_t column_items;
  std::int64_t item_rows, item_panels;
  double multiply_adds;
  bool shared;  ///< whether the items are worth waking threads for
};

/// For a product of at least one row: the number of item columns with which the threads finish
/// first.
inline LinearPlan plan_linear(std::int64_t rows, std::int64_t in_features,
                              std::int64_t out_features, std::int64_t threads,
                              const tuning::CallTuning& call = {}) {
  const std::int64_t item_rows = call.linear_item_rows;
  const double multiply_adds = static_cast<double>(rows) * static_cast<double>(in_features) *
                               static_cast<double>(out_features);
  const bool shared = call.wakes_threads(multiply_adds);
  if (!shared) threads = 1;
  const auto ceil_div = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  const std::int64_t panels = ceil_div(out_features, kernels::kPanel);
  const std::int64_t row_items = ceil_div(rows, item_rows);
  const std::int64_t finest =
      threads > 1 ? std::min(panels, 3 + ceil_div(8 * threads, row_items)) : 1;
  const std::int64_t rest = rows % item_rows;
  std::int64_t item_panels = panels;
  double best = std::numeric_limits<double>::max();
  for (std::int64_t columns = 1; columns <= finest; ++columns) {
    const std::int64_t width = ceil_div(panels, columns);
    const std::int64_t column_items = ceil_div(panels, width);
    const Cut cut{rows / item_rows * column_items, rest > 0 ? column_items : 0,
                  static_cast<double>(rest) / static_cast<double>(item_rows)};
    const double time =
        rounds_of(cut, threads) * (static_cast<double>(width) + tuning::kPackPanels);
    if (time < best) {
      best = time;
      item_panels = width;
    }
  }
  return {row_items, ceil_div(panels, item_panels), item_rows, item_panels, multiply_adds, shared};
}

}  // namespace rapt
