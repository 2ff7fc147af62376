// A cascade: pages shared by several sequences are read once for the queries of all of them; each
// sequence then continues over its own keys from the resulting state.
#pragma once

#include "attention/pages.hpp"
#include "attention/problem.hpp"
#include "attention/sequences.hpp"
#include "core/aligned_buffer.hpp"
#include "rapt/attention.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rapt {

/// The inputs and results of a cascade's first part: the queries of all groups, concatenated, their
/// positions, and their states after the shared keys.
struct GroupQueries {
  AlignedBuffer floats;
  std::vector<std::int64_t> positions;
  TensorView<void, 4> q, out;
  AttentionState<float> state;
};

/// A call over paged sequences as two calls. The memory is kept across calls.
struct Cascade {
  Sequences prefixes;  ///< one per group: the members' queries, concatenated, over the shared keys
  Sequences suffixes;  ///< every sequence; members of a group without their shared keys
  std::vector<std::int64_t> rows;  ///< row of q for each row of `prefixes`
  std::vector<std::size_t> order;  ///< the sequences, sorted so that equal beginnings are adjacent
  GroupQueries queries;
};

/// Groups sequences that begin with the same pages, as forks do, in any order in the call. A group
/// shares whole key blocks that all of its queries see in full. `heads`: query heads per kv head;
/// `stream_rows`: the maximum on the decode path. Returns whether any group is worth its cost.
bool find_cascade(const PageLayout& pages, const Sequences& sequences, std::int64_t heads,
                  std::int64_t stream_rows, Cascade& cascade);

/// find_cascade() for a call, plus copies of its queries. Returns false as well if an option
/// depends on the key or position within a sequence. The two parts give the same bits as one call.
bool make_cascade(const AttentionTensors& tensors, const AttentionOptions& options,
                  const Sequences& sequences, std::int64_t stream_rows, Cascade& cascade);

/// The options of the first part, which writes the states after the shared keys.
AttentionOptions prefix_options(const AttentionOptions& options, const Cascade& cascade);

}  // namespace rapt
