// Measured constants of the kernels, one row per ISA: the shape that code is compiled for, and the
// defaults of what is tuned at run time. No row changes a bit of a result.
#pragma once

#include "kernels/abi/tuning.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

struct Shape {
  /// The register tile: `rows` rows by `vectors` vectors of multiply-add chains. tiles.hpp states
  /// the inequalities.
  int rows, vectors;
  /// Whether to compute one vector of keys alone when a row tile sees no more of a column tile: at
  /// the diagonal and at both ends of a window. It has half as many chains, so it saves less than
  /// half, but is never slower; with four vectors it would be a quarter.
  bool half_score_tiles;
  /// The defaults; those of query_rows and stream_rows, which size buffers and templates, are also
  /// their maxima.
  Tuning tuning;
};

namespace shapes {

constexpr Shape avx512{.rows = 12,
                       .vectors = 2,
                       .half_score_tiles = true,
                       .tuning = {.query_rows = 192,
                                  .stream_rows = 8,
                                  .pack_values_rows = 96,
                                  .near_values_stride = 128,
                                  .panel_floats_ahead = 4096,
                                  .weight_floats_ahead = 2048,
                                  .one_row_weight_floats_ahead = 512,
                                  .stream_floats = 2048,
                                  .short_value_row = 64}};
constexpr Shape avx2{.rows = 6,
                     .vectors = 2,
                     .half_score_tiles = true,
                     .tuning = {.query_rows = 192,
                                .stream_rows = 6,
                                .pack_values_rows = 96,
                                .near_values_stride = 32,
                                .panel_floats_ahead = 4096,
                                .weight_floats_ahead = 8192,
                                .one_row_weight_floats_ahead = 512,
                                .stream_floats = 2048,
                                .short_value_row = 64}};
constexpr Shape neon{.rows = 8,
                     .vectors = 2,
                     .half_score_tiles = true,
                     .tuning = {.query_rows = 192,
                                .stream_rows = 8,
                                .pack_values_rows = 96,
                                .near_values_stride = 32,
                                .panel_floats_ahead = 4096,
                                .weight_floats_ahead = 8192,
                                .one_row_weight_floats_ahead = 512,
                                .stream_floats = 2048,
                                .short_value_row = 64}};
constexpr Shape scalar{.rows = 2,
                       .vectors = 4,
                       .half_score_tiles = false,
                       .tuning = {.query_rows = 32,
                                  .stream_rows = 2,
                                  .pack_values_rows = 96,
                                  .near_values_stride = 32,
                                  .panel_floats_ahead = 4096,
                                  .weight_floats_ahead = 8192,
                                  .one_row_weight_floats_ahead = 512,
                                  .stream_floats = 2048,
                                  .short_value_row = 64}};

/// For tests: the scalar kernels compiled once more with every constant changed.
constexpr Shape scalar_other{.rows = 5,
                             .vectors = 2,
                             .half_score_tiles = true,
                             .tuning = {.query_rows = 80,
                                        .stream_rows = 3,
                                        .pack_values_rows = 7,
                                        .near_values_stride = 0,
                                        .panel_floats_ahead = 512,
                                        .weight_floats_ahead = 100,
                                        .one_row_weight_floats_ahead = 50,
                                        .stream_floats = 500,
                                        .short_value_row = 6}};

}  // namespace shapes

#if !defined(RAPT_KERNEL_SHAPE)
#define RAPT_KERNEL_SHAPE RAPT_KERNEL_ISA
#endif
constexpr Shape kShape = shapes::RAPT_KERNEL_SHAPE;

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
