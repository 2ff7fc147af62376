// What the kernels are told of a call and of its work items.
#pragma once

#include "attention/problem.hpp"
#include "attention/score_callback.hpp"
#include "attention/sequences.hpp"
#include "kernels/abi/attend.hpp"
#include "rapt/attention.hpp"

#include <cstdint>
#include <vector>

namespace rapt {

/// Options as kernels take them; the vectors keep their memory from call to call.
struct PreparedOptions {
  std::vector<float> alibi_slopes, sinks;  ///< per head, times log2(e)
  std::vector<std::int64_t> weights_rows;  ///< of each query its row in weights, or -1
};

/// Fills `prepared`, to which the call will point.
void prepare_options(const AttentionOptions& options, std::int64_t q_rows,
                     PreparedOptions& prepared);

/// What all items of a call have in common. row_ends: room for 2 floats for each row of q and head,
/// or null.
kernels::AttendCall attend_call(const AttentionTensors& tensors, const AttentionOptions& options,
                                const PreparedOptions& prepared, const CallbackOfCall& callback,
                                float* row_ends);

/// The tensors at the sequence and first kv head of an item: all but its rows and blocks.
kernels::AttendItem attend_item(const kernels::AttendCall& call, const AttentionTensors& tensors,
                                const Sequences& sequences, std::int64_t sequence,
                                std::int64_t kv_head);

}  // namespace rapt
