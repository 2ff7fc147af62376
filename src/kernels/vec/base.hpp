// Included first by the file of every ISA: inlining and unrolling of kernels, and constants that
// are the same everywhere.
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
// Register tiles are not inlined: in a larger function their loops spill registers (P1, AVX-512:
// 0.985).
#define RAPT_NOINLINE __attribute__((noinline))

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Hides the origin of a value from the compiler: it stays in a register instead of being
/// recomputed, and spilled, in a different form for each use.
template <class T>
RAPT_INLINE T opaque(T x) {
  asm("" : "+r"(x));
  return x;
}

/// The data of lane_numbers().
alignas(64) constexpr float kLaneNumbers[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                8, 9, 10, 11, 12, 13, 14, 15};

constexpr float kInfinity = __builtin_inff();
constexpr float kLowest = -__FLT_MAX__;

/// The only NaN that Rapt writes, so that NaNs too have the same bits on every ISA.
constexpr std::uint32_t kCanonicalNan = 0x7fc00000u;
RAPT_INLINE float canonical(float x) {
  return x == x ? x : __builtin_bit_cast(float, kCanonicalNan);
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
