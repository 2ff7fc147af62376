// Every tolerance of the tests, as a formula with its derivation. u = 2^-24 is the unit roundoff of
// f32; gamma(n) = n u / (1 - n u) bounds the relative error of n roundings in a row.
#pragma once

#include "kernels/abi/arithmetic.hpp"
#include "rapt/dtype.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace rapt::test {

inline constexpr double kUnitRoundoff = 0x1p-24;
/// The smallest positive float: the error of an operation with a subnormal result beyond its
/// roundings.
inline constexpr double kSmallest = 0x1p-149;

/// exp2 gives 0 below this: the absolute error of a weight, relative to the largest of its row.
inline constexpr double kExp2Loss = 0x1p-125;

inline double gamma(double roundings) {
  return roundings * kUnitRoundoff / (1.0 - roundings * kUnitRoundoff);
}

/// The unit in the last place of f32 at a normal |x|: 2^(e - 23) for |x| in [2^e, 2^(e + 1)).
inline double ulp(double x) { return std::ldexp(1.0, std::ilogb(x) - 23); }

/// A result in `type` of which the f32 result is within `bound` of the exact one: rounded once
/// more, by half of the distance of neighbours. That is at most u16 = 2^-8 (bf16) or 2^-11 (f16) of
/// the rounded number, and half of the least subnormal where these are. Infinite where the rounded
/// number may be.
inline double rounded_bound(DType type, double exact, double bound) {
  if (type == DType::f32) return bound;
  const bool is_bf16 = type == DType::bf16;
  const double u16 = is_bf16 ? 0x1p-8 : 0x1p-11, least = is_bf16 ? 0x1p-133 : 0x1p-24;
  const double overflow = is_bf16 ? 0x1.ffp127 : 65520.0;
  const double largest = std::abs(exact) + bound;
  if (largest >= overflow) return std::numeric_limits<double>::infinity();
  return bound + std::max(u16 * largest, least / 2.0);
}

/// exp2 on [kExp2Zero, 0]: 2 ULP of the exact value. The minimax polynomial contributes under half
/// a ULP, its rounded coefficients and the last two Horner steps the rest; the scaling by 2^n is
/// exact.
inline double exp2_bound(double exact) { return 2.0 * ulp(exact); }

/// Linear, against the exact value. A product passes through the roundings of its own chain (at
/// most kDepthBlock), of the additions of later blocks, and of the bias; so its relative error is
/// at most gamma of their number, and the errors add up weighted by |x_k w_k|.
///   magnitude: sum_k |x_k w_k| + |b|
inline double linear_bound(std::int64_t depth, double magnitude) {
  const std::int64_t block = kernels::kDepthBlock;
  const auto chain = static_cast<double>(std::min(depth, block));
  const auto folds = static_cast<double>((depth + block - 1) / block - 1);
  return gamma(chain + folds + 1.0) * magnitude + static_cast<double>(depth) * kSmallest;
}

/// tanh: the largest error over every float is 2.25 ULP. From 0.625 on, e's own 4 u and the
/// rounding of its argument contribute at most 0.7 times, the sum, difference and quotient one u
/// each.
inline double tanh_bound(double exact) { return 3.0 * ulp(exact); }

/// cos and sin of a RoPE table, times `length`: half a ULP of a result of at most `length`, plus
/// the roundings of the frequency (2^-49, its exponent is below 32) and of the angle.
inline double rope_table_bound(double position, double length) {
  return std::exp2(std::ceil(std::log2(length)) - 25.0) + length * position * 0x1p-48;
}

/// rms_norm: half of width / 16 + 4 roundings of the sum of squares (each relative to it), of the
/// mean and of the sum with epsilon; the root, its inverse and the two products; for a subnormal
/// product two more units.
inline double rms_norm_bound(std::int64_t width, double exact) {
  const double roundings = (static_cast<double>(width) / 16.0 + 1.0 + 4.0 + 2.0) / 2.0 + 4.0;
  return gamma(roundings) * std::abs(exact) + 2.0 * kSmallest;
}

/// layer_norm, relative to the mean of |x|: a lane's chain of width / 16 + 1 additions, four more
/// of the lanes, the division.
inline double mean_bound(std::int64_t width, double magnitude) {
  return gamma(static_cast<double>(width) / 16.0 + 6.0) * magnitude;
}

/// One row of layer_norm, whose exact deviation is 1 / inverse_deviation.
///   shift: the error of the mean in units of the deviation. All components are shifted alike, and
///     their exact sum of differences is 0, so that the variance grows by the square of the shift.
struct LayerNormBound {
  LayerNormBound(std::int64_t width_, double magnitude, double inverse_deviation_)
      : width(static_cast<double>(width_)),
        inverse_deviation(inverse_deviation_),
        shift(mean_bound(width_, magnitude) * inverse_deviation_) {}

  /// Half of width / 16 + 5 roundings of the sum of squares, of two of a squared difference, of the
  /// division and of the sum with epsilon; the root and its inverse.
  double of_inverse() const {
    return (gamma(width / 32.0 + 7.0) + shift * shift) * inverse_deviation;
  }

  /// Of a component: the difference and the product on top; the shift, which these may double; the
  /// weight, the bias, and an underflow of either.
  double of_component(double normalized, double weight, double bias) const {
    const double error =
        (gamma(width / 32.0 + 9.0) + shift * shift) * std::abs(normalized) + 2.0 * shift;
    const double scaled = std::abs(weight) * error;
    return scaled + gamma(2.0) * (std::abs(weight * normalized) + scaled + std::abs(bias)) +
           (std::abs(weight) + 1.0) * kSmallest;
  }

  double width, inverse_deviation, shift;
};

/// softmax of a component that is `distance` below the maximum: the difference, the product and
/// log2(e), each relative to the distance, here and in the sum, whose distances weighted by y are
/// at most ln(width); exp2 on both sides (4 u each), the sum (width / 16 + 5), 1 / l and the
/// product, and one for the squares of all of these.
inline double softmax_bound(std::int64_t width, double distance, double exact) {
  const auto n = static_cast<double>(width);
  return gamma(16.0 + 3.0 * distance + 3.0 * std::log(n) + n / 16.0) * exact + 2.0 * kExp2Loss;
}

// --- attention, the published bound (docs/arithmetic.md)
// S as in reference/naive64.hpp: the magnitudes of a score's terms. 16 u covers exp2 (2 ULP are 4
// u) in numerator and denominator, the fold, 1 / l and the sums, whose roundings go up as often as
// down; 4 S u covers the scores, likewise twice. It holds for data that are not constructed against
// it; the worst case over all data follows below.

inline double out_bound(double score_sum, double value_sum) {
  return kUnitRoundoff * (16.0 + 4.0 * score_sum) * value_sum;
}

/// What a cache of bytes adds to out_bound(), against its rows as floats i * scale: a rounding of
/// each of these and of the product after the chain, for keys (4 u S as for the scores, since it
/// counts twice) and for values (2 u).
inline double bytes_bound(double score_sum, double value_sum) {
  return kUnitRoundoff * (2.0 + 4.0 * score_sum) * value_sum;
}

inline double lse_bound(double score_sum, double lse) {
  return 4.0 * kUnitRoundoff * std::max(1.0, std::abs(lse)) + kUnitRoundoff * score_sum;
}

// --- attention, the guaranteed bound
// ----------------------------------------------------------------

/// The sizes that the worst case depends on.
struct AttentionSizes {
  std::int64_t head_dim;
  std::int64_t kv_len;
};

/// Relative error of one p_j against exp(t_j - t_max): exp(e) - 1 for an absolute error e of the
/// exponent in natural units, a sum of
///  - the score: head_dim chain roundings, one of q', one of c, two of the bias, three of ALiBi
///    (slope, distance, sum), two of RoPE on each side: gamma(head_dim + 11) S
///  - QK-norm, on each side: half of the head_dim / 16 + 4 roundings of the sum of squares and of
///    the mean and the sum with epsilon; the root, its inverse, two products:
///    gamma(head_dim / 16 + 16) S
///  - soft cap: two roundings and tanh, 4 u: within the 8 soft_cap of S
///  - s_j - m_b and, folded, m_b - m: each one rounding of at most 2 S: gamma(4) S
///  - exp2 of both: 2 ULP = 4 u each: gamma(8)
inline double weight_error(AttentionSizes sizes, double score_sum) {
  const double exponent =
      (gamma(static_cast<double>(sizes.head_dim) * 17.0 / 16.0 + 27.0) + gamma(4.0)) * score_sum +
      gamma(8.0);
  return std::expm1(exponent);
}

/// Roundings of one p_j on its way into l or o: the chain of its block (256 for o; fewer for l),
/// and one product, one addition and one more exp2 with its argument (4 u + 2 S u, once per rise of
/// the maximum) for each later block and for a sink.
inline double sum_error(AttentionSizes sizes, double score_sum) {
  const std::int64_t block = kernels::kKeyBlock;
  const auto chain = static_cast<double>(std::min(sizes.kv_len, block));
  const auto folds = static_cast<double>((sizes.kv_len + block - 1) / block);
  return gamma(chain + folds * (6.0 + 2.0 * score_sum));
}

/// |out - out64| for any data: the relative errors of numerator and denominator, 1 / l and the last
/// product, times sum_j p_j |v_j|; plus, for each key, the loss if exp2 gives 0 (below 2^-125, in
/// the block and in the fold).
inline double out_guaranteed(AttentionSizes sizes, double score_sum, double value_sum,
                             double value_max) {
  const double one = weight_error(sizes, score_sum) + sum_error(sizes, score_sum) + gamma(2.0);
  const double relative = (1.0 + one) / (1.0 - one) - 1.0;
  return relative * value_sum + 2.0 * kExp2Loss * static_cast<double>(sizes.kv_len) * value_max;
}

/// |w - w64| for any data: as for out, without values and their sum. A single weight has no
/// published bound: the errors of a row's keys average out in out, but not in one weight.
inline double weight_guaranteed(AttentionSizes sizes, double score_sum, double weight) {
  const double one = weight_error(sizes, score_sum) + sum_error(sizes, score_sum) + gamma(2.0);
  return ((1.0 + one) / (1.0 - one) - 1.0) * weight + 2.0 * kExp2Loss;
}

/// |lse - lse64| for any data: the score error, the relative error of l, which log turns into an
/// absolute one, and the final rounding.
inline double lse_guaranteed(AttentionSizes sizes, double score_sum, double lse) {
  return std::log1p(weight_error(sizes, score_sum)) + sum_error(sizes, score_sum) +
         gamma(1.0) * std::abs(lse);
}

}  // namespace rapt::test
