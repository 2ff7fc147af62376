// The plan of an attention call: integers only, a pure function of shapes, tiles and thread count.
// It decides who computes what, never what is computed: any plan gives the same bits.
#pragma once

#include "core/tuning.hpp"
#include "kernels/abi/kernel_set.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace rapt {

/// The keys [first, end) that query `query` of a sequence sees. Both bounds are non-decreasing in
/// the query.
inline std::int64_t first_visible(const kernels::VisibleKeys& keys, std::int64_t query) {
  return std::max(keys.first_key, query + keys.begin);
}
inline std::int64_t end_of_visible(const kernels::VisibleKeys& keys, std::int64_t query) {
  return std::min({keys.kv_len, query + keys.limit, std::max(query + keys.end, keys.prefix)});
}

/// Keys [begin, end) of a sequence.
struct Keys {
  std::int64_t begin, end;
};

/// The keys that any of queries [first, last] of a sequence sees.
inline Keys keys_seen(const kernels::VisibleKeys& keys, std::int64_t first, std::int64_t last) {
  const std::int64_t begin = first_visible(keys, first);
  return {begin, std::max(begin, end_of_visible(keys, last))};
}

/// A sequence of the batch, as the plan needs it.
struct PlanSequence {
  std::int64_t q_len;
  kernels::VisibleKeys visible;
};

struct PlanProblem {
  std::int64_t kv_heads;
  std::int64_t group;  ///< query heads per kv head
  std::int64_t head_dim, value_dim;
  bool can_split_keys;  ///< false with weights as output: they need the row's final state
  kernels::KeyStorage storage = kernels::KeyStorage::rows;
  bool heads_adjacent = false;   ///< adjacent kv heads may share an item on the decode path
  std::int64_t stream_rows = 0;  ///< maximum rows of an item on the decode path
  std::span<const PlanSequence> sequences;
};

/// What the kernels and the tuning say about the size of items.
struct ItemSizes {
  std::int64_t rows;        ///< of a register tile
  std::int64_t query_rows;  ///< whose scores are held in L2 at once; a multiple of `rows`
  tuning::CallTuning call{};
};

/// The sizes for these kernels.
inline ItemSizes item_sizes(const kernels::KernelSet& kernels, const tuning::CallTuning& call) {
  return {kernels.tiles.rows, kernels.tuning.query_rows, call};
}

/// The rows that an item of these kernels can have on the decode path, as tuned.
inline std::int64_t stream_rows(const kernels::KernelSet& kernels,
                                const kernels::StreamShape& shape) {
  return std::min(kernels.stream_rows(shape), kernels.tuning.stream_rows);
}

/// Rows [row_begin, row_begin + rows) of one sequence and of kv heads [kv_head, kv_head +
/// kv_heads), over key blocks [block_begin, block_end).
struct WorkItem {
  std::int64_t sequence;
  std::int64_t kv_head, kv_heads;
  std::int64_t row_begin, rows;
  std::int64_t block_begin, block_end;
  std::int64_t split;  ///< index into Plan::splits; -1 if the item finishes its rows itself,
                       ///< otherwise it has one kv head
  kernels::Route route;
};

/// Rows whose key blocks are split over several items, then folded from the blocks' states.
struct KeySplit {
  std::int64_t sequence;
  std::int64_t kv_head;
  std::int64_t row_begin, rows;
  std::int64_t block_begin, block_end;
  std::int64_t state_offset;  ///< floats from the start of the state buffer to its block 0
};

struct Plan {
  std::vector<WorkItem> items;  ///< largest first
  std::vector<KeySplit> splits;
  std::int64_t state_floats = 0;
  double multiply_adds = 0;  ///< of all items, without keys hidden by the range mask
  bool shared = false;       ///< whether the items are worth waking threads for
  std::int64_t grain = 1;    ///< adjacent items of a task
};

/// Floats of a row's saved state.
inline std::int64_t state_stride_of(std::int64_t value_dim) {
  return (value_dim + kernels::kPanel - 1) / kernels::kPanel * kernels::kPanel +
         kernels::kStateExtra;
}

/// Fills `plan`; its vectors keep their memory across calls.
void make_plan(const PlanProblem& problem, const ItemSizes& sizes, int threads, Plan& plan);

}  // namespace rapt
