#include "conformance/check_compare.hpp"

#include "core/counted.hpp"
#include "rapt/error.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace rapt::conformance {
namespace {

Shape index_of(std::int64_t element, const Shape& shape) {
  Shape index(shape.size());
  for (std::size_t i = shape.size(); i-- > 0;) {
    index[i] = element % shape[i];
    element /= shape[i];
  }
  return index;
}

/// |got - want| / bound: at most 1 inside the bound, infinity where no bound could hold.
double share_of_bound(double got, double want, double bound) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : HUGE_VAL;
  if (got == want) return 0;
  if (!std::isfinite(got) || !std::isfinite(want) || bound == 0) return HUGE_VAL;
  return std::abs(got - want) / bound;
}

}  // namespace

Comparison compare(const CaseTensor& want, std::span<const float> got, const Tolerance& tolerance,
                   const CaseTensor* care) {
  const std::vector<double> wanted = want.doubles();
  const auto cared = care != nullptr ? care->bools() : std::vector<unsigned char>(wanted.size(), 1);
  if (wanted.size() != got.size() || (care != nullptr && care->shape != want.shape)) {
    throw Error(ErrorCode::malformed_file, "output '" + want.role + "' of shape " +
                                               to_text(want.shape) + " is not of the size of the " +
                                               core::counted(got.size(), "computed value") +
                                               " or not of the shape of its Y_care");
  }

  Comparison result{.tensor = want.role, .used_bound = 0, .mismatch = {}};
  Mismatch worst;
  double worst_share = 1;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (cared[i] == 0) continue;
    ++worst.compared;
    const double bound =
        std::isfinite(wanted[i]) ? tolerance.atol + tolerance.rtol * std::abs(wanted[i]) : 0;
    const double share = share_of_bound(got[i], wanted[i], bound);
    if (share <= 1) {
      result.used_bound = std::max(result.used_bound, share);
      continue;
    }
    ++worst.wrong;
    if (share <= worst_share) continue;
    worst_share = share;
    worst.index = index_of(static_cast<std::int64_t>(i), want.shape);
    worst.got = got[i];
    worst.want = wanted[i];
    worst.bound = bound;
  }
  if (worst.wrong > 0) result.mismatch = worst;
  return result;
}

std::string to_text(const std::string& tensor, const Mismatch& mismatch) {
  char values[120];
  std::snprintf(values, sizeof values, " got %.9g, want %.9g, bound %.3g", mismatch.got,
                mismatch.want, mismatch.bound);
  return tensor + to_text(mismatch.index) + values + " (" + std::to_string(mismatch.wrong) +
         " of " + std::to_string(mismatch.compared) + " elements)";
}

}  // namespace rapt::conformance
