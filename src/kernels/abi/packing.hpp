// Packing for long-term storage: the panel layout, which all ISAs share, and the arguments of the
// kernels that write it. Part of kernel_set.hpp.
#pragma once

#include <cstdint>

namespace rapt::kernels {

/// Columns of a packed panel: 32 keys of K, 32 outputs of a weight matrix, 32 columns of V. The
/// same on every ISA, so that packed memory can be kept, shared and written to a file.
inline constexpr int kPanel = 32;

/// Writes `keys` keys into panels [panel][head_dim][kPanel], the first as key number `first`.
/// Nothing else is written: other threads may read other keys of the panels meanwhile.
struct PackKeysArgs {
  const float* k;
  std::int64_t k_stride;
  std::int64_t first, keys;
  std::int64_t head_dim;
  float* panels;
};

/// Writes `values` rows into panels of columns, the first row at `panels`: column c of row j goes
/// to panels[c / kPanel * panel_stride + j * kPanel + c % kPanel]. The last panel is padded with
/// zeros.
struct PackValuesArgs {
  const float* v;
  std::int64_t v_stride;
  std::int64_t values;
  std::int64_t value_dim;
  float* panels;
  std::int64_t panel_stride;
};

/// Panels [panel_begin, panel_end) of a weight matrix, in the layout of LinearArgs. The last panel
/// is padded with zeros.
struct PackWeightArgs {
  /// Column c, depth k is at weight[c / head_columns * head_stride + c % head_columns *
  /// column_stride + k * depth_stride].
  const float* weight;
  std::int64_t head_columns;
  std::int64_t head_stride, column_stride, depth_stride;
  std::int64_t depth, columns;
  std::int64_t panel_begin, panel_end;
  float* packed;
};

}  // namespace rapt::kernels
