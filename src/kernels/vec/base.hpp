// What the file of every ISA begins with: how kernels are inlined and unrolled, and the numbers
// that are the same everywhere.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own AVX-512 headers read a deliberately undefined register.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

// Loops over register tiles must be unrolled before GCC decides what lives in memory, or the
// accumulators are spilled.
#define RAPT_UNROLL _Pragma("GCC unroll 16")
#define RAPT_INLINE inline __attribute__((always_inline))
// Register tiles: inside a larger function their loops paid for its registers (P1, AVX-512: 0.985).
#define RAPT_NOINLINE __attribute__((noinline))

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// A value of which the compiler no longer knows how it came about: it stays in a register instead
/// of being computed, and then spilled, in as many forms as it is used in.
template <class T>
RAPT_INLINE T opaque(T x) {
  asm("" : "+r"(x));
  return x;
}

/// What lane_numbers() loads.
alignas(64) constexpr float kLaneNumbers[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                8, 9, 10, 11, 12, 13, 14, 15};

constexpr float kInfinity = __builtin_inff();
constexpr float kLowest = -__FLT_MAX__;

/// The one NaN that Rapt writes, so that even NaNs have the same bits on every ISA.
constexpr std::uint32_t kCanonicalNan = 0x7fc00000u;
RAPT_INLINE float canonical(float x) {
  return x == x ? x : __builtin_bit_cast(float, kCanonicalNan);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
