// The only place that checks the arguments of attention().
#pragma once

#include "rapt/attention.hpp"

namespace rapt {

/// Throws Error{invalid_argument} with one sentence naming the argument and the values.
void validate_attention(const TensorView<const float, 4>& q, const TensorView<const float, 4>& k,
                        const TensorView<const float, 4>& v, const TensorView<float, 4>& out,
                        const AttentionOptions& options);

}  // namespace rapt
