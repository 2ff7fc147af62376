// The sequences of a call: the first row of each in the tensors, and the keys that it may see.
#pragma once

#include "attention/plan.hpp"
#include "rapt/mask.hpp"

#include <cstdint>
#include <vector>

namespace rapt {

using kernels::SequencePlace;

/// The first of `count` rows of a tensor; row 0 if there are none, because `begin` may be past the
/// end of the tensor.
inline std::int64_t row_of(std::int64_t begin, std::int64_t count) { return count > 0 ? begin : 0; }

/// The sequences of a call as parallel arrays; the vectors keep their memory across calls.
struct Sequences {
  std::vector<PlanSequence> plan;
  std::vector<SequencePlace> places;

  void clear() {
    plan.clear();
    places.clear();
  }
  /// Adds a sequence and returns its place; the caller sets the remaining members.
  SequencePlace& add(std::int64_t q_len, std::int64_t kv_len);
};

/// Sets the position of query 0 and the visible keys of each sequence. at_end: queries are the last
/// tokens, whatever the mask's align.
void place_queries(const Mask& mask, bool at_end, Sequences& sequences);

}  // namespace rapt
