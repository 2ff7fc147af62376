// Compares the results of attention() with a case's expected outputs.
#pragma once

#include "conformance/conformance_case.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace rapt::conformance {

/// The element that exceeds its bound the most, and the number of elements that do.
struct Mismatch {
  Shape index;
  double got = 0;
  double want = 0;
  double bound = 0;  ///< atol + rtol * |want|; 0 for an expected NaN or infinity
  std::int64_t wrong = 0;
  std::int64_t compared = 0;
};

/// The comparison of one output.
struct Comparison {
  std::string tensor;
  double used_bound = 0;  ///< the largest |got - want| / bound of elements within their bounds
  std::optional<Mismatch> mismatch;
};

/// An expected NaN must be NaN, an expected infinity that infinity; otherwise |got - want| <= atol
/// + rtol * |want|. The sign of a zero is not compared.
///   want: any floating type;  got: as many values, in the same order
///   care: a bool tensor of want's shape that selects elements; nullptr selects all
/// Throws Error{malformed_file} if the sizes differ.
Comparison compare(const CaseTensor& want, std::span<const float> got, const Tolerance& tolerance,
                   const CaseTensor* care = nullptr);

/// "Y[0, 1, 2] got 0.5, want 0.25, bound 1e-05 (3 of 24 elements)"
std::string to_text(const std::string& tensor, const Mismatch& mismatch);

}  // namespace rapt::conformance
