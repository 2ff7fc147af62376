// What bf16 and f16 are, stated a second time: the value of every pattern by its formula, and the
// rounding of a number by a search for its neighbours.
#pragma once

#include "rapt/dtype.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace rapt::test {

/// The patterns of a type of 16 bits without the sign, ascending, up to that of infinity. Its value
/// is taken as what would follow the largest finite one: from the middle of both on, numbers round
/// to infinity.
class Patterns {
 public:
  explicit Patterns(DType type)
      : fraction_bits(type == DType::bf16 ? 7 : 10), bias_(type == DType::bf16 ? 127 : 15) {
    for (std::uint32_t bits = 0; bits <= infinity(); ++bits) values_.push_back(formula(bits));
  }

  std::uint32_t infinity() const { return (2u * bias_ + 1u) << fraction_bits; }
  /// The one quiet NaN that a NaN is rounded to.
  std::uint16_t nan() const {
    return static_cast<std::uint16_t>(infinity() | 1u << (fraction_bits - 1));
  }
  double value(std::uint32_t bits) const { return values_[bits]; }

  /// The pattern nearest to a magnitude that is no NaN, the even one of two equally near.
  std::uint16_t nearest(double magnitude) const {
    const auto above = std::upper_bound(values_.begin(), values_.end(), magnitude);
    return nearest(magnitude, static_cast<std::uint32_t>(above - values_.begin()) - 1);
  }

  /// The same, given the last pattern whose value is not above the magnitude.
  std::uint16_t nearest(double magnitude, std::uint32_t below) const {
    if (below >= infinity()) return static_cast<std::uint16_t>(infinity());
    const double down = magnitude - values_[below], up = values_[below + 1] - magnitude;
    const bool rises = up < down || (up == down && below % 2 == 1);
    return static_cast<std::uint16_t>(below + (rises ? 1 : 0));
  }

  const std::uint32_t fraction_bits;

 private:
  double formula(std::uint32_t bits) const {
    const std::uint32_t one = 1u << fraction_bits, exponent = bits >> fraction_bits;
    const std::uint32_t significand = bits % one + (exponent == 0 ? 0 : one);
    const int scale = static_cast<int>(exponent == 0 ? 1 : exponent);
    return std::ldexp(significand, scale - static_cast<int>(bias_ + fraction_bits));
  }

  const std::uint32_t bias_;
  std::vector<double> values_;
};

}  // namespace rapt::test
