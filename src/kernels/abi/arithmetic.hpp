// The constants of the arithmetic (docs/arithmetic.md): every result depends on them, and they are
// the same on every ISA. Constants only: this header is on both sides of the ISA border and in the
// scalar statement.
#pragma once

namespace rapt::kernels {

/// Virtual lanes of a sum: lane t adds the elements j with j mod 16 = t.
inline constexpr int kLanes = 16;
/// Keys per softmax block, counted from the sequence's key 0.
inline constexpr int kKeyBlock = 256;
/// Depth per block of a matrix product.
inline constexpr int kDepthBlock = 512;

/// exp2(x) = p(f) 2^n, n = nearest even integer of x, f = x - n, p by Horner with fused
/// multiply-adds. p is minimax in ULP on [-1/2, 1/2] with p(0) = 1, rounded to f32, then improved
/// by a search over neighbouring floats: at most 1.8 ULP.
constexpr float kExp2Coefficients[6] = {
    1.0f, 0x1.62e424p-1f, 0x1.ebf9b6p-3f, 0x1.c6babep-5f, 0x1.3cec64p-7f, 0x1.5aac60p-10f,
};
/// Below this exp2 returns exactly 0, so that no result is subnormal.
inline constexpr float kExp2Zero = -125.0f;

/// tanh(x) = x + x^3 P(x^2) below kTanhSmall, P minimax with relative error 0.08 * 2^-24; from
/// there on (1 - e) / (1 + e) with e = exp2(-2 log2(e) |x|).
inline constexpr float kTanhSmall = 0.625f;
constexpr float kTanhCoefficients[5] = {
    -0x1.555532p-2f, 0x1.1106f6p-3f, -0x1.b835a4p-5f, 0x1.51f8cep-6f, -0x1.750ce4p-8f,
};

/// A row whose largest magnitude is below this has bytes of 0 and scale 0: 127 / magnitude and
/// magnitude / 127 of the others are normal.
inline constexpr float kLeastByteRow = 0x1p-119f;

inline constexpr double kLog2E = 0x1.71547652b82fep+0;
inline constexpr double kLn2 = 0x1.62e42fefa39efp-1;

}  // namespace rapt::kernels
