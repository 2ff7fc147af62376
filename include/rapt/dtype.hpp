// The types of elements, and the two floats of 16 bits.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace rapt {

/// The types that elements may have. Tensors of a call are f32, bf16 or f16, in any mix. All
/// arithmetic is in f32: elements of 16 bits are widened exactly when they are read, and a result
/// is rounded once, to nearest even, when it is written. Files may hold the others too; `other` is
/// one whose elements cannot be read (F8_E4M3, ...).
enum class DType : std::uint8_t {
  f32,
  bf16,
  f16,
  i8,
  f64,
  i64,
  i32,
  i16,
  u64,
  u32,
  u16,
  u8,
  boolean,
  other
};

/// "f32", "bf16", ...
constexpr std::string_view dtype_name(DType type) {
  constexpr std::string_view names[] = {"f32", "bf16", "f16", "i8",  "f64", "i64",     "i32",
                                        "i16", "u64",  "u32", "u16", "u8",  "boolean", "other"};
  return names[type < DType::other ? static_cast<std::size_t>(type) : 13];
}

/// Bytes of one element; 0 for DType::other.
constexpr std::size_t dtype_size(DType type) {
  constexpr std::size_t sizes[] = {4, 2, 2, 1, 8, 8, 4, 2, 8, 4, 2, 1, 1, 0};
  return sizes[type < DType::other ? static_cast<std::size_t>(type) : 13];
}

/// The first 16 bits of a float: its range, with 8 bits of significand. Storage only: it converts,
/// explicitly, and does no arithmetic.
/// Source: Intel, "BFLOAT16 - Hardware Numerics Definition", 2018.
struct bfloat16 {  // NOLINT(readability-identifier-naming): a type of numbers, like float
  std::uint16_t bits;

  bfloat16() = default;
  /// Rounds to nearest even. A NaN becomes the quiet NaN 0x7fc0.
  constexpr explicit bfloat16(float x) : bits(0x7fc0) {
    if (x != x) return;
    const auto word = std::bit_cast<std::uint32_t>(x);
    bits = static_cast<std::uint16_t>((word + 0x7fff + (word >> 16 & 1)) >> 16);
  }
  /// Exact.
  constexpr explicit operator float() const {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
  }
};

/// IEEE 754 binary16: up to 65504, with 11 bits of significand. Storage only, as bfloat16.
struct float16 {  // NOLINT(readability-identifier-naming)
  std::uint16_t bits;

  float16() = default;
  /// Rounds to nearest even, subnormals included; what rounds to more than 65504 is infinite. A NaN
  /// becomes the quiet NaN 0x7e00.
  constexpr explicit float16(float x) : bits(0x7e00) {
    if (x != x) return;
    const auto word = std::bit_cast<std::uint32_t>(x);
    const std::uint32_t sign = word >> 16 & 0x8000, magnitude = word & 0x7fffffff;
    bits = static_cast<std::uint16_t>(sign | rounded(magnitude));
  }
  /// Exact.
  constexpr explicit operator float() const {
    const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16, magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00) {  // infinite or NaN
      return std::bit_cast<float>(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    }
    if (magnitude >= 0x400) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000));
    const float value = static_cast<float>(magnitude) * 0x1p-24f;  // subnormal
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
  }

 private:
  /// Of a float's bits without the sign.
  static constexpr std::uint32_t rounded(std::uint32_t magnitude) {
    if (magnitude >= 0x477ff000) return 0x7c00;  // from the middle of 65504 and 65536 on
    if (magnitude >= 0x38800000) {
      return (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    }
    // Subnormal: the significand is shifted to a multiple of 2^-24. Half of that and less is 0.
    if (magnitude <= 0x33000000) return 0;
    const std::uint32_t shift = 126 - (magnitude >> 23);
    const std::uint32_t significand = (magnitude & 0x7fffff) | 0x800000;
    const std::uint32_t half = (1u << (shift - 1)) - 1;
    return (significand + half + (significand >> shift & 1)) >> shift;
  }
};

static_assert(sizeof(bfloat16) == 2 && sizeof(float16) == 2);
static_assert(std::is_trivially_copyable_v<bfloat16> && std::is_trivially_copyable_v<float16>);

/// Types that a tensor may have.
template <class T>
concept Element =
    std::is_same_v<T, float> || std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>;

template <Element T>
inline constexpr DType kDTypeOf = std::is_same_v<T, float>      ? DType::f32
                                  : std::is_same_v<T, bfloat16> ? DType::bf16
                                                                : DType::f16;

}  // namespace rapt
