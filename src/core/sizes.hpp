// Products of sizes that may not fit.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace rapt {

/// The product of non-negative factors, or nothing when it does not fit an int64.
inline std::optional<std::int64_t> checked_product(std::span<const std::int64_t> factors) {
  std::int64_t product = 1;
  for (const std::int64_t factor : factors) {
    if (__builtin_mul_overflow(product, factor, &product)) return std::nullopt;
  }
  return product;
}

}  // namespace rapt
