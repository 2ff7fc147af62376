// Operations of ISAs without masks or dedicated instructions, in terms of other operations.
// Included at the end of their files.
#pragma once

#include "kernels/vec/base.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

struct Exp2Parts {
  Vec factor, f;
};
RAPT_INLINE Exp2Parts exp2_parts(Vec x, Vec shift, Vec bound) {
  // Lanes below the bound become the number whose n is 1.5 * 2^23: an exponent field of 0.
  x = select_less(x, bound, Vec(0x1.8p+23f) - shift, x);
  const Vec n = x + shift;
  return {low_bits_to_exponent(n), x - (n - shift)};
}

RAPT_INLINE Vec load(const unsigned char* p) {
  float part[kVecLanes];
  for (int i = 0; i < kVecLanes; ++i) part[i] = static_cast<float>(p[i]);
  return Vec::load_unaligned(part);
}
RAPT_INLINE Vec load_first(const float* p, std::int64_t n) {
  float part[kVecLanes] = {};
  for (std::int64_t i = 0; i < n; ++i) part[i] = p[i];
  return Vec::load_unaligned(part);
}
RAPT_INLINE void store_first(float* p, Vec x, std::int64_t n) {
  float part[kVecLanes];
  x.store_unaligned(part);
  for (std::int64_t i = 0; i < n; ++i) p[i] = part[i];
}
RAPT_INLINE std::uint64_t nonzero_bits(const unsigned char* p) {
  constexpr std::uint64_t kLow = 0x0101010101010101u * 0x7f;
  std::uint64_t bits = 0;
  for (int i = 0; i < 8; ++i) {
    std::uint64_t word = 0;
    __builtin_memcpy(&word, p + 8 * i, 8);
    // The highest bit of each byte that is not 0, moved to its lowest one; the product gathers
    // those in the highest byte.
    const std::uint64_t set = (((word & kLow) + kLow) | word) >> 7 & 0x0101010101010101u;
    bits |= set * 0x0102040810204080u >> 56 << (8 * i);
  }
  return bits;
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
