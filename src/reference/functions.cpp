// The functions of the scalar statement, and its matrix product.
#include "kernels/abi/arithmetic.hpp"
#include "reference/elements.hpp"
#include "reference/scalar.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace rapt::reference {

using kernels::kDepthBlock;

float exp2(float x) {
  if (x < kernels::kExp2Zero) return 0.0f;
  const float n = std::nearbyint(x);  // ties to even
  const float f = x - n;
  float p = kernels::kExp2Coefficients[5];
  for (int i = 4; i >= 0; --i) p = std::fma(p, f, kernels::kExp2Coefficients[i]);
  return std::isnan(x) ? x : std::ldexp(p, static_cast<int>(n));
}

float tanh(float x) {
  const float a = std::fabs(x);
  if (a < kernels::kTanhSmall) {
    const float x2 = x * x;
    float p = kernels::kTanhCoefficients[4];
    for (int i = 3; i >= 0; --i) p = std::fma(p, x2, kernels::kTanhCoefficients[i]);
    return std::fma(x * x2, p, x);
  }
  const float e = exp2(a * static_cast<float>(-2.0 * kernels::kLog2E));
  return std::copysign((1.0f - e) / (1.0f + e), x);
}

double log2(float l) {
  int e = 0;
  double f = std::frexp(double{l}, &e);  // [1/2, 1)
  if (f < 0x1.6a09e667f3bcdp-1) {        // 1/sqrt(2): f ends in [1/sqrt(2), sqrt(2))
    f *= 2.0;
    e -= 1;
  }
  // ln(f) = 2 artanh(z), z = (f - 1) / (f + 1); |z| < 0.172, so the series ends below 2^-60.
  const double z = (f - 1.0) / (f + 1.0);
  const double z2 = z * z;
  double t = 1.0 / 23.0;
  for (int odd = 21; odd >= 1; odd -= 2) t = t * z2 + 1.0 / odd;
  return static_cast<double>(e) + (2.0 * kernels::kLog2E) * (z * t);
}

float canonical(float x) { return std::isnan(x) ? std::bit_cast<float>(0x7fc00000u) : x; }

ByteRow to_bytes(const std::vector<float>& x) {
  ByteRow row{std::vector<float>(x.size(), 0.0f), 0.0f};
  float most = 0.0f;
  for (const float component : x) {
    if (!std::isfinite(component)) {
      row.scale = std::numeric_limits<float>::quiet_NaN();
      return row;
    }
    most = std::max(most, std::abs(component));
  }
  if (most < kernels::kLeastByteRow) return row;
  const float factor = 127.0f / most;
  row.scale = most / 127.0f;
  for (std::size_t d = 0; d < x.size(); ++d) row.integers[d] = std::nearbyint(x[d] * factor);
  return row;
}

void linear(TensorView<const void, 2> x, TensorView<const void, 2> weight,
            std::span<const float> bias, TensorView<void, 2> y) {
  const std::int64_t depth = x.shape[1];
  for (std::int64_t i = 0; i < y.shape[0]; ++i) {
    for (std::int64_t e = 0; e < y.shape[1]; ++e) {
      float sum = 0.0f;
      for (std::int64_t first = 0; first < depth; first += kDepthBlock) {
        float acc = 0.0f;
        for (std::int64_t d = first; d < std::min(first + kDepthBlock, depth); ++d) {
          acc = std::fma(element(x, i, d), element(weight, e, d), acc);
        }
        sum = first == 0 ? acc : sum + acc;
      }
      if (!bias.empty()) sum = sum + bias[static_cast<std::size_t>(e)];
      set_element(y, canonical(sum), i, e);
    }
  }
}

}  // namespace rapt::reference
