// What is tuned at run time for the kernels of one ISA: numbers that change the speed and not a bit
// of a result. Part of kernel_set.hpp.
#pragma once

#include <cstdint>

namespace rapt::kernels {

/// A row of these, measured on one machine, is the default of each ISA (tile/tuning.hpp).
struct Tuning {
  /// Rows whose scores are held in L2 at once: a multiple of Tiles::rows.
  std::int64_t query_rows;
  /// Maximum rows of an item on the decode path, which reads K and V in place.
  std::int64_t stream_rows;
  /// Minimum rows of an item for copying V into panels: enough row tiles read the copy to repay
  /// writing it.
  std::int64_t pack_values_rows;
  /// Maximum floats between rows of V for which copying never helps: such rows stay in L1 (or, with
  /// AVX-512, a column tile of 32 KiB does not in either form).
  std::int64_t near_values_stride;
  /// Decoding from panels: floats from what is read to what is prefetched. (Zen 5, D1 from a
  /// KvCache, AVX2 and AVX-512, of the time without: 16 KiB 0.42 and 0.88; 4 KiB 0.70 and 0.85; 24
  /// KiB 0.41 and 0.90.)
  std::int64_t panel_floats_ahead;
  /// The same for a linear product of up to one row tile. Where a tile is half a panel, its rows of
  /// a depth block must be prefetched by then: half of 512 x 32 floats.
  std::int64_t weight_floats_ahead;
  /// The same for one row. (Zen 5, G2, of the time without: 2 KiB 0.99 with AVX-512, 0.90 with
  /// AVX2; 8 KiB 1.03 and 0.93.)
  std::int64_t one_row_weight_floats_ahead;
  /// Decoding from rows: floats of K or V in a step, while as many are prefetched. (Zen 5, D1: 8
  /// KiB 0.77 with AVX2, 16 KiB 0.88 of the time that demand loads take; in the caches 16 KiB lose
  /// 4 to 8 % to 8 KiB.)
  std::int64_t stream_floats;
  /// Floats of a dense row of V up to which the hardware prefetchers suffice: prefetching costs 6
  /// to 8 % in the caches. Longer ones gain by it from memory.
  std::int64_t short_value_row;
};

}  // namespace rapt::kernels
