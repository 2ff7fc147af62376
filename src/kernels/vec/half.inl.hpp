// Elements of 8 and 16 bits one at a time: in plain C++, with the bits of the instructions.
#pragma once

#include "kernels/abi/element.hpp"
#include "kernels/vec/base.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

RAPT_INLINE float widened(float x) { return x; }
RAPT_INLINE float widened(std::int8_t x) { return static_cast<float>(x); }

RAPT_INLINE float widened(Bf16 x) { return __builtin_bit_cast(float, std::uint32_t{x.bits} << 16); }

/// A quiet NaN from a NaN, with its payload, as the instructions make it.
inline float widened(F16 x) {
  const std::uint32_t sign = std::uint32_t{x.bits & 0x8000u} << 16, magnitude = x.bits & 0x7fffu;
  std::uint32_t bits = 0;
  if (magnitude > 0x7c00) {
    bits = 0x7fc00000 | magnitude << 13;
  } else if (magnitude == 0x7c00) {
    bits = 0x7f800000;
  } else if (magnitude >= 0x400) {
    bits = (magnitude << 13) + 0x38000000;
  } else {
    bits = __builtin_bit_cast(std::uint32_t, static_cast<float>(magnitude) * 0x1p-24f);
  }
  return __builtin_bit_cast(float, sign | bits);
}

RAPT_INLINE void narrow(float x, float& to) { to = x; }

RAPT_INLINE void narrow(float x, Bf16& to) {
  const auto bits = __builtin_bit_cast(std::uint32_t, canonical(x));
  to.bits = static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline void narrow(float x, F16& to) {
  const auto word = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t sign = word >> 16 & 0x8000, magnitude = word & 0x7fffffff;
  std::uint32_t bits = 0;  // of 2^-25, half of the least one, and below
  if (magnitude > 0x7f800000) {
    to.bits = 0x7e00;
    return;
  }
  if (magnitude >= 0x477ff000) {  // the middle of 65504 and 65536
    bits = 0x7c00;
  } else if (magnitude >= 0x38800000) {
    bits = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
  } else if (magnitude > 0x33000000) {  // subnormal: a multiple of 2^-24
    const std::uint32_t shift = 126 - (magnitude >> 23);
    const std::uint32_t significand = (magnitude & 0x7fffff) | 0x800000;
    const std::uint32_t half = (1u << (shift - 1)) - 1;
    bits = (significand + half + (significand >> shift & 1)) >> shift;
  }
  to.bits = static_cast<std::uint16_t>(sign | bits);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
