// The sequences of a call: where the rows of each lie in the tensors, and which keys they may see.
#pragma once

#include "attention/plan.hpp"
#include "rapt/mask.hpp"

#include <cstdint>
#include <vector>

namespace rapt {

using kernels::SequencePlace;

/// Where `count` rows of a tensor begin: those that do not exist at row 0, since `begin` may be
/// behind the tensor.
inline std::int64_t row_of(std::int64_t begin, std::int64_t count) { return count > 0 ? begin : 0; }

/// The sequences of a call, side by side; the vectors keep their memory from call to call.
struct Sequences {
  std::vector<PlanSequence> plan;
  std::vector<SequencePlace> places;

  void clear() {
    plan.clear();
    places.clear();
  }
  /// Adds a sequence and returns its place, of which the rest is to be set.
  SequencePlace& add(std::int64_t q_len, std::int64_t kv_len);
};

/// Where the queries of each sequence stand among its keys, and which keys they see. at_end: they
/// are its last tokens, whatever the mask says of that.
void place_queries(const Mask& mask, bool at_end, Sequences& sequences);

}  // namespace rapt
