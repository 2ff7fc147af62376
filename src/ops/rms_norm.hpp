// Row normalisation in the form that the kernels take, and its checks.
#pragma once

#include "core/views.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "rapt/rms_norm.hpp"

#include <cmath>
#include <cstdint>
#include <span>
#include <string>

namespace rapt {

inline kernels::RowNorm row_norm(std::span<const float> weight, float epsilon) {
  return {1, epsilon, weight.empty() ? nullptr : weight.data()};
}

inline void check_epsilon(const char* name, float epsilon) {
  if (std::isfinite(epsilon) && epsilon >= 0.0f) return;
  core::fail(std::string(name) + ": " + std::to_string(epsilon) + " is not a number of at least 0");
}

inline void check_norm_weight(const char* name, std::span<const float> weight,
                              const char* width_name, std::int64_t width) {
  if (weight.empty() || static_cast<std::int64_t>(weight.size()) == width) return;
  core::fail(std::string(name) + ": length " + std::to_string(weight.size()) + " does not match " +
             width_name + " " + std::to_string(width));
}

inline void check_qk_norm(const QkNorm& norm, std::int64_t head_dim) {
  check_epsilon("qk_norm.epsilon", norm.epsilon);
  check_norm_weight("qk_norm.q_weight", norm.q_weight, "q's head_dim", head_dim);
  check_norm_weight("qk_norm.k_weight", norm.k_weight, "q's head_dim", head_dim);
  if (!norm.normalize_keys && !norm.k_weight.empty()) {
    core::fail("qk_norm: k_weight cannot be combined with normalize_keys = false");
  }
}

}  // namespace rapt
