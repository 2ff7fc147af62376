// Planning and running a call in which everything is checked.
#pragma once

#include "attention/attend_call.hpp"
#include "attention/cascade.hpp"
#include "attention/plan.hpp"
#include "attention/problem.hpp"
#include "attention/score_callback.hpp"
#include "attention/sequences.hpp"
#include "core/aligned_buffer.hpp"
#include "rapt/attention.hpp"

namespace rapt {

/// The memory of a call but for the scratch of its items. A thread keeps one from call to call, so
/// that calls allocate nothing once the largest was seen.
struct AttentionWorkspace {
  Sequences sequences;
  PageAddresses addresses;
  Plan plan;
  PreparedOptions options;
  AlignedBuffer states, row_ends;
  Cascade cascade;
};

/// Runs the work of sequences: as a cascade where they share pages. Throws std::bad_alloc and
/// Error{out_of_memory}; what the callback throws is kept in it.
void run(const AttentionTensors& tensors, const AttentionOptions& options,
         const Sequences& sequences, const CallbackOfCall& callback, AttentionWorkspace& workspace);

}  // namespace rapt
