// Vectors of floats: every vector operation that the kernels use. Each ISA has a file of its own,
// which provides what is listed here; those are the only files that know intrinsics or xsimd, whose
// versions differ only in there.
//
//   Vec                       a vector of floats, trivially copyable: Vec(float), + - *,
//                             Vec::load_unaligned(p), x.store_unaligned(p)
//   kVecLanes                 its floats: 16 or a divisor of it
//   kRegisters                vector registers of the ISA
//
// Each rounded once, as arithmetic.md has it:
//   fma(a, b, c)              a * b + c
//   divide(a, b)              a / b
//   fma_lane<Lane>(x, y, acc) x times one lane of y, added to acc: one load of y serves as many
//                             steps as it has lanes. Deleted where kHasFmaLane is false.
//
// Exact:
//   max_ignoring_nan(x, acc)  the larger one; `acc` where x is NaN
//   max_magnitude(a, b)       the larger one of two that are not negative, NaN above all: by their
//                             bits
//   all_below(x, bound)       whether every lane of x is below its bound; not where x is NaN
//   select_less(x, bound, yes, no)   `yes` where x < bound, else (also for NaN) `no`
//   absolute(x), with_sign_of(x, sign)   the latter for x >= 0
//   canonical(x)              NaNs become the one that Rapt writes
//   keep_lanes(x, first, begin, end, other)   x in lanes [begin, end) of a vector whose lane 0
//                             counts as `first`, `other` in the rest
//   max_lanes(x)              the largest lane
//   sum_lanes(x)              adds lanes t and t + half for half = kVecLanes / 2, ..., 2, 1
//   exp2_parts(x, shift, bound) -> Exp2Parts{factor, f}
//                             x as exp2 takes it apart: n = x + shift, of which the low 8 bits are
//                             an exponent field, and the rest f = x - n. Both are 0 where x < bound
//                             (and not where x is NaN), and nothing is computed there:
//                             (-inf) - (-inf) is invalid, and a factor of any exponent overflows.
//
// Memory:
//   load(const unsigned char* p)   bytes as floats
//   load_first(p, n)          the first n floats of p, n below the lanes, and 0 in the others; what
//                             comes after them is not read
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

/// 0, 1, 2, ... of a vector that is part `first` and on of a line of kLanes.
RAPT_INLINE Vec lane_numbers(int first) { return load(kLaneNumbers + first); }

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
