// The other oracle: the textbook formulas in float64, without blocks or base 2, and for each result
// the magnitudes that a rounding-error bound needs.
#pragma once

#include "rapt/attention.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace rapt::reference {

/// All dense and row-major.
struct Attention64 {
  std::vector<double> out;             ///< [batch, heads, q_len, value_dim]
  std::vector<double> lse;             ///< [batch, heads, q_len]
  std::vector<double> weights;         ///< [batch, heads, q_len, kv_len]
  std::vector<double> value_sum;       ///< sum_j p_j |v_jd|, like out
  std::vector<double> value_max;       ///< max_j |v_jd| over attended keys, like out
  std::vector<double> score_sum;       ///< S = max_j of the magnitudes that make score j, like lse
  std::vector<std::int64_t> attended;  ///< keys that the row attends to, like lse
};

/// rapt::attention in float64, without the saturation of bias sums.
///   S = max_j softmax_scale sum_d |q_d| |k_jd| + 8 soft_cap + |bias_j| + |slope (p - j)|, or
/// |sink| if larger.
/// For a rotated row |q_d| and |k_jd| are |u cos| + |w sin|. 8 u soft_cap is the error of the soft
/// cap's division, tanh and product. A score callback adds 4 |s| before and after it, for its
/// conversions and its own float error. `out`, `lse` and `weights` of the options are ignored as
/// outputs. Nothing is checked. Keys with a bias of -inf are masked.
Attention64 attention64(TensorView<const void, 4> q, TensorView<const void, 4> k,
                        TensorView<const void, 4> v, const AttentionOptions& options = {});

/// Dense and row-major.
struct Linear64 {
  std::vector<double> y;          ///< [rows, out]
  std::vector<double> magnitude;  ///< sum_k |x_k w_k| + |b|, like y
};

/// x W^T + b in float64. Nothing is checked.
Linear64 linear64(TensorView<const void, 2> x, TensorView<const void, 2> weight,
                  std::span<const float> bias);

}  // namespace rapt::reference
