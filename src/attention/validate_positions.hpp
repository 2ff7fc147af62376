// The positions of a call's queries and keys in its RoPE table.
#pragma once

#include "attention/sequences.hpp"
#include "rapt/attention.hpp"

namespace rapt {

/// Throws Error{invalid_argument} unless the position of every query and key is a row of the table.
void validate_positions(const TensorView<const void, 4>& q, const TensorView<const void, 4>& k,
                        const RopeOptions& rope, const Sequences& sequences);

}  // namespace rapt
