// The scalar statement of merge(): the fold of two states.
#include "kernels/abi/arithmetic.hpp"
#include "reference/scalar.hpp"

#include <cmath>
#include <cstdint>
#include <limits>

namespace rapt::reference {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();

/// A row's m and l.
struct Ends {
  float m, l;
  bool empty() const { return m == -kInfinity && l == 0.0f; }
};

/// A NaN m is not a maximum: it is represented by a NaN in l.
Ends ends_of(float m, float l) { return std::isnan(m) ? Ends{-kInfinity, m} : Ends{m, l}; }

/// The factors of the fold. A part without a key is ignored, whatever its o holds, and leaves the
/// other one unchanged.
struct Factors {
  Ends merged;
  float a, b;
  bool has_x, has_y;
};

Factors factors(const Ends& x, const Ends& y) {
  if (x.empty() && y.empty()) return {{-kInfinity, 0.0f}, 0.0f, 0.0f, false, false};
  if (y.empty()) return {x, 1.0f, 0.0f, true, false};
  if (x.empty()) return {y, 0.0f, 1.0f, false, true};
  if (y.m == -kInfinity) return {{x.m, x.l + y.l}, 1.0f, 1.0f, true, true};  // y is NaN
  const float m = y.m > x.m ? y.m : x.m;
  const float a = exp2(x.m - m), b = exp2(y.m - m);
  return {{m, std::fma(x.l, a, y.l * b)}, a, b, true, true};
}

float fold(float o_x, float o_y, const Factors& f) {
  o_x = f.has_x ? o_x : 0.0f;
  o_y = f.has_y ? o_y : 0.0f;
  return canonical(std::fma(o_x, f.a, o_y * f.b) + 0.0f);
}

/// lse = m ln 2 with l = 1. -FLT_MAX is an ordinary value.
Ends ends_of_result(float lse) {
  if (lse == -kInfinity) return {lse, 0.0f};
  if (std::isnan(lse)) return {-kInfinity, lse};
  const float m = static_cast<float>(double{lse} * kernels::kLog2E);
  return {m < kLowest ? kLowest : m, 1.0f};
}

template <class F>
void for_rows(const TensorView<float, 4>& o, const F& row) {
  for (std::int64_t b = 0; b < o.shape[0]; ++b) {
    for (std::int64_t h = 0; h < o.shape[1]; ++h) {
      for (std::int64_t i = 0; i < o.shape[2]; ++i) row(b, h, i);
    }
  }
}

}  // namespace

void merge(const AttentionState<const float>& x, const AttentionState<const float>& y,
           const AttentionState<float>& merged) {
  for_rows(merged.o, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
    const Factors f =
        factors(ends_of(x.m(b, h, i), x.l(b, h, i)), ends_of(y.m(b, h, i), y.l(b, h, i)));
    merged.m(b, h, i) = f.merged.m + 0.0f;
    merged.l(b, h, i) = canonical(f.merged.l);
    for (std::int64_t d = 0; d < merged.o.shape[3]; ++d) {
      merged.o(b, h, i, d) = fold(x.o(b, h, i, d), y.o(b, h, i, d), f);
    }
  });
}

void merge(const AttentionResult<const float>& x, const AttentionResult<const float>& y,
           const AttentionResult<float>& merged) {
  for_rows(merged.out, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
    const Factors f = factors(ends_of_result(x.lse(b, h, i)), ends_of_result(y.lse(b, h, i)));
    const float inverse = f.merged.empty() ? 0.0f : 1.0f / f.merged.l;
    for (std::int64_t d = 0; d < merged.out.shape[3]; ++d) {
      const float o = fold(x.out(b, h, i, d), y.out(b, h, i, d), f);
      merged.out(b, h, i, d) = canonical(std::fma(o, inverse, 0.0f));
    }
    const Ends& e = f.merged;
    if (e.empty()) {
      merged.lse(b, h, i) = -kInfinity;
    } else if (std::isnan(e.l)) {
      merged.lse(b, h, i) = canonical(e.l);
    } else if (e.m == kLowest) {
      merged.lse(b, h, i) = kLowest;
    } else {
      const double lse = (double{e.m} + log2(e.l)) * kernels::kLn2;
      merged.lse(b, h, i) = canonical(static_cast<float>(lse));
    }
  });
}

}  // namespace rapt::reference
