// Builds the kernels' arguments of a call and of its work items.
#pragma once

#include "attention/problem.hpp"
#include "attention/score_callback.hpp"
#include "attention/sequences.hpp"
#include "kernels/abi/attend.hpp"
#include "rapt/attention.hpp"

#include <cstdint>
#include <vector>

namespace rapt {

/// Options in the form that kernels take; the vectors keep their memory across calls.
struct PreparedOptions {
  std::vector<float> alibi_slopes, sinks;  ///< per head, times log2(e)
  std::vector<std::int64_t> weights_rows;  ///< row of each query in weights, or -1
};

/// Fills `prepared`; the call will point into it.
void prepare_options(const AttentionOptions& options, std::int64_t q_rows,
                     PreparedOptions& prepared);

/// The arguments that all items of a call share. row_ends: 2 floats per row of q and head, or null.
kernels::AttendCall attend_call(const kernels::Tuning& tuning, const AttentionTensors& tensors,
                                const AttentionOptions& options, const PreparedOptions& prepared,
                                const CallbackOfCall& callback, float* row_ends);

/// The arguments of an item at this sequence and kv head, its rows and blocks unset.
kernels::AttendItem attend_item(const kernels::AttendCall& call, const AttentionTensors& tensors,
                                const Sequences& sequences, std::int64_t sequence,
                                std::int64_t kv_head);

}  // namespace rapt
