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

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
