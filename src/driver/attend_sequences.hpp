// Running a call of attention() whose arguments are checked and whose sequences are known.
#pragma once

#include "driver/sequences.hpp"
#include "rapt/attention.hpp"
#include "rapt/tensor.hpp"

namespace rapt {

struct AttentionTensors {
  TensorView<const float, 4> q, k, v;
  TensorView<float, 4> out;
};

/// Plans the sequences' work and runs it. Throws Error{out_of_memory}.
void attend_sequences(const AttentionTensors& tensors, const AttentionOptions& options,
                      const Sequences& sequences);

}  // namespace rapt
