// Measured constants of the kernels, one row per ISA; the fields state their reasons. No row
// changes a bit of a result.
#pragma once

#include <cstdint>

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

struct Tuning {
  /// The register tile: `rows` rows by `vectors` vectors of multiply-add chains. tiles.hpp states
  /// the inequalities.
  int rows, vectors;
  /// Rows whose scores are held in L2 at once.
  int query_rows;
  /// Maximum rows of an item on the decode path, which reads K and V in place.
  int stream_rows;
  /// Whether to compute one vector of keys alone when a row tile sees no more of a column tile: at
  /// the diagonal and at both ends of a window. It has half as many chains, so it saves less than
  /// half, but is never slower; with four vectors it would be a quarter.
  bool half_score_tiles;
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

namespace tuning {

constexpr Tuning avx512{.rows = 12,
                        .vectors = 2,
                        .query_rows = 192,
                        .stream_rows = 8,
                        .half_score_tiles = true,
                        .pack_values_rows = 96,
                        .near_values_stride = 128,
                        .panel_floats_ahead = 4096,
                        .weight_floats_ahead = 2048,
                        .one_row_weight_floats_ahead = 512,
                        .stream_floats = 2048,
                        .short_value_row = 64};
constexpr Tuning avx2{.rows = 6,
                      .vectors = 2,
                      .query_rows = 192,
                      .stream_rows = 6,
                      .half_score_tiles = true,
                      .pack_values_rows = 96,
                      .near_values_stride = 32,
                      .panel_floats_ahead = 4096,
                      .weight_floats_ahead = 8192,
                      .one_row_weight_floats_ahead = 512,
                      .stream_floats = 2048,
                      .short_value_row = 64};
constexpr Tuning neon{.rows = 8,
                      .vectors = 2,
                      .query_rows = 192,
                      .stream_rows = 8,
                      .half_score_tiles = true,
                      .pack_values_rows = 96,
                      .near_values_stride = 32,
                      .panel_floats_ahead = 4096,
                      .weight_floats_ahead = 8192,
                      .one_row_weight_floats_ahead = 512,
                      .stream_floats = 2048,
                      .short_value_row = 64};
constexpr Tuning scalar{.rows = 2,
                        .vectors = 4,
                        .query_rows = 32,
                        .stream_rows = 2,
                        .half_score_tiles = false,
                        .pack_values_rows = 96,
                        .near_values_stride = 32,
                        .panel_floats_ahead = 4096,
                        .weight_floats_ahead = 8192,
                        .one_row_weight_floats_ahead = 512,
                        .stream_floats = 2048,
                        .short_value_row = 64};

/// For tests: the scalar kernels compiled once more with every constant changed.
constexpr Tuning scalar_other{.rows = 5,
                              .vectors = 2,
                              .query_rows = 80,
                              .stream_rows = 3,
                              .half_score_tiles = true,
                              .pack_values_rows = 7,
                              .near_values_stride = 0,
                              .panel_floats_ahead = 512,
                              .weight_floats_ahead = 100,
                              .one_row_weight_floats_ahead = 50,
                              .stream_floats = 500,
                              .short_value_row = 6};

}  // namespace tuning

#if !defined(RAPT_KERNEL_TUNING)
#define RAPT_KERNEL_TUNING RAPT_KERNEL_ISA
#endif
constexpr Tuning kTuning = tuning::RAPT_KERNEL_TUNING;

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
