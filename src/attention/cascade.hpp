// A cascade: what several sequences share of their pages is read once for the queries of all of
// them; each continues over its own keys from the state that is left.
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

/// What the first part of a cascade computes on: the queries of all groups side by side, their
/// positions, and what the shared keys leave of them.
struct GroupQueries {
  AlignedBuffer floats;
  std::vector<std::int64_t> positions;
  TensorView<float, 4> q, out;
  AttentionState<float> state;
};

/// A call over paged sequences in two. The memory is kept from call to call.
struct Cascade {
  Sequences prefixes;  ///< one for each group: all their queries, side by side, the shared keys
  Sequences rests;     ///< every sequence; one of a group without the keys that it shares
  std::vector<std::int64_t> rows;  ///< of each row of the prefixes its row of q
  std::vector<std::size_t> order;  ///< the sequences, those that begin alike side by side
  GroupQueries queries;
};

/// Finds the groups of sequences that begin with the same pages, as forks do, wherever they stand
/// in the call. They share whole key blocks, all of which every one of their queries sees; `heads`
/// query heads share a kv head, `stream_rows` is that of the kernels. Returns whether there are any
/// that pay.
bool find_cascade(const PageLayout& pages, const Sequences& sequences, std::int64_t heads,
                  std::int64_t stream_rows, Cascade& cascade);

/// The same for a call over pages, with its queries; false, too, where an option counts keys or
/// positions by sequence. Both parts of a cascade give the bits of the whole.
bool make_cascade(const AttentionTensors& tensors, const AttentionOptions& options,
                  const Sequences& sequences, std::int64_t stream_rows, Cascade& cascade);

/// The options of the first part, over the shared keys: it leaves its states.
AttentionOptions prefix_options(const AttentionOptions& options, const Cascade& cascade);

}  // namespace rapt
