// Elementary functions in double as sequences of exactly rounded operations: the same bits with
// every libm, compiler and machine, for tables that are computed once.
#pragma once

#include <cmath>
#include <cstdint>

namespace rapt::core {

/// log2(x) for a normal x > 0; exact for powers of 2, else within 2^-51 max(1, |log2(x)|).
inline double exact_log2(double x) {
  int e = 0;
  double f = std::frexp(x, &e);    // exact; [1/2, 1)
  if (f < 0x1.6a09e667f3bcdp-1) {  // 1/sqrt(2): f ends in [1/sqrt(2), sqrt(2))
    f *= 2.0;
    e -= 1;
  }
  // ln(f) = 2 artanh(z), z = (f - 1) / (f + 1); |z| < 0.172, so the series ends below 2^-60.
  const double z = (f - 1.0) / (f + 1.0);
  const double z2 = z * z;
  double t = 1.0 / 23.0;
  for (int odd = 21; odd >= 1; odd -= 2) t = t * z2 + 1.0 / odd;
  return static_cast<double>(e) + 0x1.71547652b82fep+1 * (z * t);  // 2 log2(e)
}

/// 2^x for |x| < 1000, within 4 * 2^-53 of it relatively.
inline double exact_exp2(double x) {
  const double n = std::nearbyint(x);
  const double r = (x - n) * 0x1.62e42fefa39efp-1;  // ln 2; |r| < 0.347
  double p = 1.0;                                   // sum of r^k / k!, k <= 15: the rest < 2^-64
  for (int k = 15; k >= 1; --k) p = 1.0 + r * p / k;
  return std::ldexp(p, static_cast<int>(n));
}

/// base^exponent for base > 0.
inline double exact_power(double base, double exponent) {
  return exact_exp2(exponent * exact_log2(base));
}

inline double exact_log(double x) { return exact_log2(x) * 0x1.62e42fefa39efp-1; }

struct CosSin {
  double cos, sin;
};

/// cos and sin of an angle with |angle| < 2^30, each within 2^-50. The angle is reduced by the
/// nearest multiple of pi/2, given to 3 * 53 bits, with fused multiply-adds.
inline CosSin exact_cos_sin(double angle) {
  const double n = std::nearbyint(angle * 0x1.45f306dc9c883p-1);  // 2 / pi
  double r = std::fma(-n, 0x1.921fb54442d18p+0, angle);
  r = std::fma(-n, 0x1.1a62633145c07p-54, r);
  r = std::fma(-n, -0x1.f1976b7ed8fbcp-110, r);
  const double r2 = r * r;
  double cos = 1.0;  // Taylor series to r^18 and r^17; |r| < 0.786, so the rest is below 2^-60
  double sin = 1.0;
  for (int k = 9; k >= 1; --k) cos = 1.0 - r2 * cos / ((2 * k - 1) * (2 * k));
  for (int k = 8; k >= 1; --k) sin = 1.0 - r2 * sin / ((2 * k) * (2 * k + 1));
  sin *= r;
  switch (static_cast<std::int64_t>(n) & 3) {
    case 0:
      return {cos, sin};
    case 1:
      return {-sin, cos};
    case 2:
      return {-cos, -sin};
    default:
      return {sin, -cos};
  }
}

}  // namespace rapt::core
