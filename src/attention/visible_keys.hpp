// The keys that a mask hides from every query of a sequence, as padding masks do.
#pragma once

#include "attention/sequences.hpp"
#include "rapt/attention.hpp"

namespace rapt {

/// Narrows each sequence to the keys from the first to the last one that the boolean mask and a
/// bias of -inf leave, where their rows are the same for all heads and queries. Both tensors, if
/// given, have elements. Returns whether the boolean mask hides no key of these ranges, so that the
/// call may run without it.
bool hide_padding(const AttentionOptions& options, Sequences& sequences);

}  // namespace rapt
