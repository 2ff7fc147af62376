// Plans and runs a validated call.
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

/// The memory of a call except the scratch of its items. Each thread keeps one, so that a call
/// allocates only when it is larger than all before it.
struct AttentionWorkspace {
  Sequences sequences;
  PageAddresses addresses;
  Plan plan;
  PreparedOptions options;
  AlignedBuffer states, row_ends;
  Cascade cascade;
};

/// Runs the call, as a cascade if sequences share pages. Throws std::bad_alloc and
/// Error{out_of_memory}; an exception from the score callback is stored in `callback`.
void run(const AttentionTensors& tensors, const AttentionOptions& options,
         const Sequences& sequences, const CallbackOfCall& callback, AttentionWorkspace& workspace);

}  // namespace rapt
