// Packing the keys and values of a cache's pages, in the pages' type.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/tile/element.inl.hpp"
#include "kernels/tile/pack.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Components of a row that are converted at once.
constexpr std::int64_t kConverted = 64;

/// Components [d, d + count) of a row as floats: in place, or in `buffer`.
RAPT_INLINE const float* row_floats(const void* row, ElementType type, std::int64_t d,
                                    std::int64_t count, float* buffer) {
  const void* const from = element_at(row, type, d);
  if (type == ElementType::f32) return static_cast<const float*>(from);
  widen_row(from, type, count, buffer);
  return buffer;
}

/// How a row becomes bytes: i = x * factor, rounded to nearest even, and x is about i * scale.
struct ByteScale {
  float factor, scale;
};

/// scale = max |x| / 127. Of zeros, and of a row so small that 1 / scale overflows, 0; of a row
/// with a NaN or an infinity, NaN. Its bytes then are 0.
inline ByteScale byte_scale(const void* row, ElementType type, std::int64_t width) {
  std::uint32_t largest = 0;  // magnitudes, by their bits
  float buffer[kConverted];
  for (std::int64_t d = 0; d < width; d += kConverted) {
    const std::int64_t count = width - d < kConverted ? width - d : kConverted;
    const float* const x = row_floats(row, type, d, count, buffer);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint32_t magnitude = __builtin_bit_cast(std::uint32_t, x[i]) & 0x7fffffffu;
      largest = magnitude > largest ? magnitude : largest;
    }
  }
  if (largest >= 0x7f800000u) return {0.0f, __builtin_bit_cast(float, kCanonicalNan)};
  const float most = __builtin_bit_cast(float, largest);
  if (most < kLeastByteRow) return {0.0f, 0.0f};
  return {127.0f / most, most / 127.0f};
}

/// Up to kConverted components of a row as bytes. A factor of 0 hides what x holds.
inline void to_bytes(const float* x, std::int64_t count, float factor, std::int8_t* bytes) {
  constexpr float kShift = 0x1.8p23f;  // a sum with it is rounded to an integer
  for (std::int64_t i = 0; i < count; ++i) {
    const float scaled = factor == 0.0f ? 0.0f : x[i] * factor;
    bytes[i] = static_cast<std::int8_t>(static_cast<std::int32_t>((scaled + kShift) - kShift));
  }
}

RAPT_INLINE std::int64_t key_lane(const PackKeysArgs& args, std::int64_t key) {
  return key / kPanel * kPanel * args.head_dim + key % kPanel;
}

/// A key alone is a column of its panel: one store, to another cache line, per component.
template <class T>
inline void place_key(const PackKeysArgs& args, std::int64_t j, T* panels) {
  T* const lane = panels + key_lane(args, args.first + j);
  const void* const row = element_at(args.k, args.k_type, j * args.k_stride);
  float buffer[kConverted];
  T converted[kConverted];
  for (std::int64_t d = 0; d < args.head_dim; d += kConverted) {
    const std::int64_t count = args.head_dim - d < kConverted ? args.head_dim - d : kConverted;
    narrow(row_floats(row, args.k_type, d, count, buffer), count, converted);
    for (std::int64_t i = 0; i < count; ++i) lane[(d + i) * kPanel] = converted[i];
  }
}

/// Whole vectors of keys are transposed with shuffles.
template <class T>
inline void place_keys_as(const PackKeysArgs& args, T* panels) {
  float buffer[kVecLanes * kConverted];
  for (std::int64_t j = 0; j < args.keys;) {
    const std::int64_t at = args.first + j;
    if (at % kVecLanes != 0 || j + kVecLanes > args.keys) {
      place_key(args, j, panels);
      j += 1;
      continue;
    }
    for (std::int64_t d = 0; d < args.head_dim; d += kConverted) {
      const std::int64_t count = args.head_dim - d < kConverted ? args.head_dim - d : kConverted;
      const void* const first = element_at(args.k, args.k_type, j * args.k_stride);
      const float* rows = row_floats(first, args.k_type, d, count, buffer);
      std::int64_t stride = args.k_stride;
      if (args.k_type != ElementType::f32) {
        stride = kConverted;
        for (std::int64_t t = 1; t < kVecLanes; ++t) {
          row_floats(element_at(first, args.k_type, t * args.k_stride), args.k_type, d, count,
                     buffer + t * kConverted);
        }
      }
      pack_key_strip(rows, stride, 0, kVecLanes, count, panels + key_lane(args, at) + d * kPanel);
    }
    j += kVecLanes;
  }
}

inline void place_keys_as_bytes(const PackKeysArgs& args) {
  float buffer[kConverted];
  std::int8_t bytes[kConverted];
  for (std::int64_t j = 0; j < args.keys; ++j) {
    const void* const row = element_at(args.k, args.k_type, j * args.k_stride);
    const auto [factor, scale] = byte_scale(row, args.k_type, args.head_dim);
    args.scales[args.first + j] = scale;
    std::int8_t* const lane =
        static_cast<std::int8_t*>(args.panels) + key_lane(args, args.first + j);
    for (std::int64_t d = 0; d < args.head_dim; d += kConverted) {
      const std::int64_t count = args.head_dim - d < kConverted ? args.head_dim - d : kConverted;
      to_bytes(row_floats(row, args.k_type, d, count, buffer), count, factor, bytes);
      for (std::int64_t i = 0; i < count; ++i) lane[(d + i) * kPanel] = bytes[i];
    }
  }
}

inline void place_keys(const PackKeysArgs& args) {
  switch (args.type) {
    case ElementType::f32:
      return place_keys_as(args, static_cast<float*>(args.panels));
    case ElementType::bf16:
      return place_keys_as(args, static_cast<Bf16*>(args.panels));
    case ElementType::f16:
      return place_keys_as(args, static_cast<F16*>(args.panels));
    case ElementType::i8:
      return place_keys_as_bytes(args);
  }
}

template <class From, class T>
inline void place_values_as(const PackValuesArgs& args, const From* v, T* panels) {
  for (std::int64_t c = 0; c < args.value_dim; c += kPanel, panels += args.panel_stride) {
    const std::int64_t left = args.value_dim - c, columns = left < kPanel ? left : kPanel;
    for (std::int64_t j = 0; j < args.values; ++j) {
      const From* const from = v + j * args.v_stride + c;
      T* const to = panels + j * kPanel;
      if (columns == kPanel) {
        RAPT_UNROLL for (int i = 0; i < kPanel; i += kVecLanes) store(to + i, load(from + i));
        continue;
      }
      float padded[kPanel] = {};
      for (std::int64_t i = 0; i < columns; ++i) padded[i] = widened(from[i]);
      narrow(padded, kPanel, to);
    }
  }
}

inline void place_values_as_bytes(const PackValuesArgs& args) {
  static_assert(kPanel <= kConverted);
  float buffer[kConverted];
  for (std::int64_t j = 0; j < args.values; ++j) {
    const void* const row = element_at(args.v, args.v_type, j * args.v_stride);
    const auto [factor, scale] = byte_scale(row, args.v_type, args.value_dim);
    args.scales[j] = scale;
    std::int8_t* to = static_cast<std::int8_t*>(args.panels) + j * kPanel;
    for (std::int64_t c = 0; c < args.value_dim; c += kPanel, to += args.panel_stride) {
      const std::int64_t left = args.value_dim - c, count = left < kPanel ? left : kPanel;
      to_bytes(row_floats(row, args.v_type, c, count, buffer), count, factor, to);
      for (std::int64_t i = count; i < kPanel; ++i) to[i] = 0;
    }
  }
}

inline void place_values(const PackValuesArgs& args) {
  if (args.type == ElementType::i8) return place_values_as_bytes(args);
  with_elements(args.v, args.v_type, [&](const auto* v) {
    if (args.type == ElementType::bf16) {
      place_values_as(args, v, static_cast<Bf16*>(args.panels));
    } else if (args.type == ElementType::f16) {
      place_values_as(args, v, static_cast<F16*>(args.panels));
    } else {
      place_values_as(args, v, static_cast<float*>(args.panels));
    }
  });
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
