// What a kernel is told of a work item: the tensors' pointers and strides at its sequence and kv
// head, its visible keys and every option of the call.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/attend_sequences.hpp"
#include "attention/plan.hpp"
#include "attention/score_callback.hpp"
#include "attention/sequences.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "rapt/attention.hpp"

namespace rapt {

/// Options as kernels take them; the vectors keep their memory from call to call.
struct PreparedOptions {
  std::vector<float> alibi_slopes, sinks;  ///< per head, times log2(e)
  std::vector<std::int64_t> weights_rows;  ///< of each query its row in weights, or -1
};

/// Everything of a call that its work items share.
struct Call {
  const AttentionTensors& tensors;
  const AttentionOptions& options;
  const Sequences& sequences;
  const PreparedOptions& prepared;
  const CallbackOfCall& callback;
  std::int64_t group;
  std::int64_t few_rows;  ///< rows of an item up to which it reads ahead by itself
  float scale;
  float* states;
  float* row_ends;
};

/// The arguments of a WorkItem or a KeySplit, but for states and scratch.
template <class Item>
kernels::AttendArgs attend_args(const Call& call, const Item& item);

/// Where sum_weights puts the sums of an item's keys.
void set_sums(const TensorView<float, 3>& sums, const Call& call, const WorkItem& item,
              kernels::AttendArgs& args);

}  // namespace rapt
