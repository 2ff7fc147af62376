// Packing for long-term storage: the panel layout, which all ISAs share, and the arguments of the
// kernels that write it. Part of kernel_set.hpp.
#pragma once

#include "kernels/abi/element.hpp"

#include <cstdint>

namespace rapt::kernels {

/// Columns of a packed panel: 32 keys of K, 32 outputs of a weight matrix, 32 columns of V. The
/// same on every ISA, so that packed memory can be kept, shared and written to a file.
inline constexpr int kPanel = 32;

/// Writes `keys` keys into panels [panel][head_dim][kPanel], the first as key number `first`.
/// Nothing else is written: other threads may read other keys of the panels meanwhile.
struct PackKeysArgs {
  const void* k;
  ElementType k_type = ElementType::f32;
  std::int64_t k_stride;
  std::int64_t first, keys;
  std::int64_t head_dim;
  void* panels;
  ElementType type = ElementType::f32;  ///< of the panels
  float* scales = nullptr;              ///< of bytes: of the panels' keys, from key 0 on
};

/// Writes `values` rows into panels of columns, the first row at `panels`: column c of row j goes
/// to panels[c / kPanel * panel_stride + j * kPanel + c % kPanel]. The last panel is padded with
/// zeros.
struct PackValuesArgs {
  const void* v;
  ElementType v_type = ElementType::f32;
  std::int64_t v_stride;
  std::int64_t values;
  std::int64_t value_dim;
  void* panels;
  std::int64_t panel_stride;
  ElementType type = ElementType::f32;  ///< of the panels
  float* scales = nullptr;              ///< of bytes: of the rows
};

/// Panels [panel_begin, panel_end) of a weight matrix, in the layout of LinearArgs and with its own
/// type. The last panel is padded with zeros.
struct PackWeightArgs {
  /// Column c, depth k is at weight[c / head_columns * head_stride + c % head_columns *
  /// column_stride + k * depth_stride].
  const void* weight;
  ElementType type;
  std::int64_t head_columns;
  std::int64_t head_stride, column_stride, depth_stride;
  std::int64_t depth, columns;
  std::int64_t panel_begin, panel_end;
  void* packed;
};

}  // namespace rapt::kernels
