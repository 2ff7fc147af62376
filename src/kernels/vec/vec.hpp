// Vectors of floats: every vector operation that the kernels use. Each ISA has its own file, which
// provides the operations listed here; only these files use intrinsics or xsimd and depend on their
// versions.
//
//   Vec                       a vector of floats, trivially copyable: Vec(float), + - *,
//                             Vec::load_unaligned(p), x.store_unaligned(p)
//   kVecLanes                 its floats: 16 or a divisor of it
//   kRegisters                vector registers of the ISA
//
// Each rounded once, as arithmetic.md requires:
//   fma(a, b, c)              a * b + c
//   divide(a, b)              a / b
//   fma_lane<Lane>(x, y, acc) acc + x * (lane Lane of y): one load of y serves as many steps as it
//                             has lanes. Deleted if kHasFmaLane is false.
//
// Exact:
//   max_ignoring_nan(x, acc)  the larger one; `acc` if x is NaN
//   max_magnitude(a, b)       the larger of two non-negative values, NaN above all: by their
//                             bits
//   all_below(x, bound)       whether every lane of x is below its bound; false for NaN
//   select_less(x, bound, yes, no)   `yes` where x < bound, else (also for NaN) `no`
//   absolute(x), with_sign_of(x, sign)   the latter for x >= 0
//   canonical(x)              replaces every NaN by the one that Rapt writes
//   keep_lanes(x, first, begin, end, other)   x in lanes [begin, end), `other` in the rest, if lane
//                             0 has number `first`
//   below_bits(x, bound)      bit i: lane i of x is below its bound; not set for NaN
//   keep_bits(x, bits, other) x in the lanes i whose bit i is set, `other` in the rest; higher bits
//                             are ignored
//   max_lanes(x)              the largest lane
//   sum_lanes(x)              adds lanes t and t + half for half = kVecLanes / 2, ..., 2, 1
//   exp2_parts(x, shift, bound) -> Exp2Parts{factor, f}
//                             the decomposition of exp2: the low 8 bits of n = x + shift are an
//                             exponent field (factor); f = x - n. Both are 0 if x < bound (not if x
//                             is NaN), computed without operations on such lanes: (-inf) - (-inf)
//                             is invalid, and an arbitrary factor overflows.
//
// Memory:
//   load(const unsigned char* p)   bytes, converted to floats
//   load(const std::int8_t* p), load(const Bf16* p), load(const F16* p)   widened, exactly
//   store_canonical(Bf16* p, x), store_canonical(F16* p, x)   rounded to nearest even; for an x
//   whose
//                             NaNs are canonical
//   nonzero_bits(const unsigned char* p)   bit i: byte i of 64 is not 0
//   load_first(p, n)          the first n floats of p, n below kVecLanes, 0 in the other lanes;
//                             memory after them is not read
//   store_first(p, x, n)      likewise
//   load_transposed(p, stride, column)   kVecLanes x kVecLanes floats: lane i of column[j] =
//                             p[i * stride + j]
#pragma once

#include "kernels/vec/base.hpp"

#define RAPT_TEXT_OF(x) #x
#define RAPT_TEXT(x) RAPT_TEXT_OF(x)
#include RAPT_TEXT(RAPT_KERNEL_ISA.hpp)  // avx2.hpp, for instance, of this folder

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

RAPT_INLINE Vec load(const float* p) { return Vec::load_unaligned(p); }
RAPT_INLINE void store(float* p, Vec x) { x.store_unaligned(p); }
RAPT_INLINE void store(Bf16* p, Vec x) { store_canonical(p, canonical(x)); }
RAPT_INLINE void store(F16* p, Vec x) { store_canonical(p, canonical(x)); }

/// The numbers `first`, `first` + 1, ... of a vector's lanes within a line of kLanes.
RAPT_INLINE Vec lane_numbers(int first) { return load(kLaneNumbers + first); }

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
