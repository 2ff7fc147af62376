// Packing: rows into row tiles of left-hand factors, keys transposed into panels, values copied
// into panels of whole register tiles.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// One row of a row tile: element k = src[k] * scale, rounded once.
RAPT_INLINE void pack_scaled_row(const float* src, std::int64_t count, float scale, float* row) {
  std::int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes, row += kTileChunk) {
    RAPT_UNROLL for (int i = 0; i < kLanes; i += kVecLanes) {
      store(row + i, load(src + k + i) * Vec(scale));
    }
  }
  for (std::int64_t i = 0; k + i < count; ++i) row[i] = src[k + i] * scale;
}

/// One row of a row tile: element k = src[k].
template <class T>
RAPT_INLINE void pack_row(const T* src, std::int64_t count, float* row) {
  std::int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes, row += kTileChunk) {
    RAPT_UNROLL for (int i = 0; i < kLanes; i += kVecLanes) store(row + i, load(src + k + i));
  }
  for (std::int64_t i = 0; k + i < count; ++i) row[i] = widened(src[k + i]);
}

/// Packs one vector of keys of a panel: dst[d * kPanel + t] = k[t * k_stride + d] for first <= t <
/// last, 0 for the rest of the vector. Other keys are not read. Elements of 16 bits are rounded.
template <class T>
RAPT_INLINE void pack_key_strip(const float* k, std::int64_t k_stride, std::int64_t first,
                                std::int64_t last, std::int64_t head_dim, T* dst) {
  constexpr int L = kVecLanes;
  std::int64_t d = 0;
  if (first <= 0 && L <= last) {
    for (; d + L <= head_dim; d += L) {
      Vec column[L];
      load_transposed(k + d, k_stride, column);
      RAPT_UNROLL for (int t = 0; t < L; ++t) store(dst + (d + t) * kPanel, column[t]);
    }
  }
  const std::int64_t begin = first > 0 ? first : 0;
  const std::int64_t end = last < L ? last : L;
  for (; d < head_dim; ++d) {
    store(dst + d * kPanel, Vec(0.0f));
    for (std::int64_t t = begin; t < end; ++t) narrow(k[t * k_stride + d], dst[d * kPanel + t]);
  }
}

/// One panel of keys: dst[d * kPanel + j] = k[j * k_stride + d] for first <= j < last, 0 for the
/// rest of the panel. Keys outside [first, last) are not read.
inline void pack_key_panel(const float* k, std::int64_t k_stride, std::int64_t first,
                           std::int64_t last, std::int64_t head_dim, float* dst) {
  for (std::int64_t j = 0; j < kPanel; j += kVecLanes) {
    pack_key_strip(k + j * k_stride, k_stride, first - j, last - j, head_dim, dst + j);
  }
}

/// Keys [begin, end) of a block into panels: panel i starts at panels + i * kPanel * head_dim.
inline void pack_keys(const float* k, std::int64_t k_stride, std::int64_t begin, std::int64_t end,
                      std::int64_t head_dim, float* panels) {
  for (std::int64_t j = begin / kPanel * kPanel; j < end; j += kPanel) {
    pack_key_panel(k + j * k_stride, k_stride, begin - j, end - j, head_dim, panels + j * head_dim);
  }
}

/// Values [0, count) into panels of kPanel columns, padded with zeros:
/// panels[c / kPanel * panel_stride + j * kPanel + c % kPanel] = v[j * v_stride + c].
template <class T>
inline void pack_value_rows(const T* v, std::int64_t v_stride, std::int64_t count,
                            std::int64_t value_dim, float* panels, std::int64_t panel_stride) {
  for (std::int64_t c = 0; c < value_dim; c += kPanel) {
    const std::int64_t columns = value_dim - c < kPanel ? value_dim - c : kPanel;
    float* dst = panels + c / kPanel * panel_stride;
    for (std::int64_t j = 0; j < count; ++j, dst += kPanel) {
      const T* src = v + j * v_stride + c;
      if (columns == kPanel) {
        RAPT_UNROLL for (int i = 0; i < kPanel; i += kVecLanes) store(dst + i, load(src + i));
      } else {
        RAPT_UNROLL for (int i = 0; i < kPanel; i += kVecLanes) store(dst + i, Vec(0.0f));
        for (std::int64_t i = 0; i < columns; ++i) dst[i] = widened(src[i]);
      }
    }
  }
}

/// Values of keys [begin, end) into the panels of a block of keys.
template <class T>
inline void pack_values(const T* v, std::int64_t v_stride, std::int64_t begin, std::int64_t end,
                        std::int64_t value_dim, float* panels) {
  pack_value_rows(v + begin * v_stride, v_stride, end - begin, value_dim, panels + begin * kPanel,
                  kKeyBlock * kPanel);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
