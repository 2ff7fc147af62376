#include "driver/plan.hpp"

#include <algorithm>

namespace rapt {
namespace {

using kernels::kKeyBlock;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Rows of an item at most: K and V of a block are packed once for all of them, so more rows make
/// packing cheaper, until their running output (rows x value_dim) no longer stays in L2 next to the
/// block.
std::int64_t most_rows(const PlanProblem& problem, const kernels::Tiles& tiles) {
  constexpr std::int64_t kOutputFloats = 96 * 1024;
  const std::int64_t width = std::max<std::int64_t>(problem.head_dim, problem.value_dim);
  const std::int64_t query_tiles = kOutputFloats / (width * tiles.query_rows);
  return std::clamp<std::int64_t>(query_tiles, 1, 8) * tiles.query_rows;
}

/// Keys that rows [row, row + rows) may see: [begin, end).
struct Keys {
  std::int64_t begin, end;
};

Keys visible(const PlanProblem& problem, const PlanSequence& sequence, std::int64_t row,
             std::int64_t rows) {
  const std::int64_t first = row / problem.group;
  const std::int64_t last = (row + rows - 1) / problem.group;
  const std::int64_t begin = std::max<std::int64_t>(first + sequence.visible_begin, 0);
  const std::int64_t end = std::min(sequence.kv_len, last + sequence.visible_end);
  return {begin, std::max(begin, end)};
}

/// About half of a masked rectangle's corner blocks are seen; exact enough to order items by.
double work_of(const PlanProblem& problem, Keys keys, std::int64_t rows) {
  return static_cast<double>(rows) * static_cast<double>(keys.end - keys.begin) *
         static_cast<double>(problem.head_dim + problem.value_dim);
}

struct Chunk {
  std::int64_t row, rows;
  Keys keys;
};

void add_chunk(const PlanProblem& problem, std::int64_t sequence, const Chunk& chunk, int parts,
               Plan& plan) {
  const std::int64_t first = chunk.keys.begin / kKeyBlock;
  const std::int64_t last = std::max(first, ceil_div(chunk.keys.end, kKeyBlock));
  const std::int64_t blocks = last - first;
  const std::int64_t pieces = std::clamp<std::int64_t>(blocks, 1, parts);
  for (std::int64_t head = 0; head < problem.kv_heads; ++head) {
    std::int64_t split = -1;
    if (pieces > 1) {
      split = static_cast<std::int64_t>(plan.splits.size());
      // States are addressed by absolute block; those before `first` do not exist.
      const std::int64_t block_floats = chunk.rows * plan.state_stride;
      plan.splits.push_back({sequence, head, chunk.row, chunk.rows, first, last,
                             plan.state_floats - first * block_floats});
      plan.state_floats += blocks * block_floats;
    }
    for (std::int64_t piece = 0; piece < pieces; ++piece) {
      plan.items.push_back({sequence, head, chunk.row, chunk.rows, first + blocks * piece / pieces,
                            first + blocks * (piece + 1) / pieces, split});
    }
  }
  plan.multiply_adds +=
      work_of(problem, chunk.keys, chunk.rows) * static_cast<double>(problem.kv_heads);
}

}  // namespace

void make_plan(const PlanProblem& problem, const kernels::Tiles& tiles, int threads, Plan& plan) {
  plan.items.clear();
  plan.splits.clear();
  plan.state_floats = 0;
  plan.state_stride =
      ceil_div(problem.value_dim, kernels::kPanel) * kernels::kPanel + kernels::kStateExtra;
  plan.multiply_adds = 0;
  const std::int64_t rows = problem.q_len * problem.group;
  const auto sequences = static_cast<std::int64_t>(problem.sequences.size());
  if (rows == 0 || sequences == 0 || problem.kv_heads == 0) return;

  // Four items a thread even out what the machine and causal masks make uneven.
  const std::int64_t wanted = threads > 1 ? 4 * static_cast<std::int64_t>(threads) : 1;
  const std::int64_t streams = sequences * problem.kv_heads;
  std::int64_t chunk_rows = std::min(most_rows(problem, tiles), rows);
  if (streams * ceil_div(rows, chunk_rows) < wanted) {
    const std::int64_t chunks = ceil_div(wanted, streams);
    const std::int64_t unit = rows > tiles.query_rows ? tiles.query_rows : tiles.rows;
    chunk_rows = std::min(rows, std::max(unit, ceil_div(ceil_div(rows, chunks), unit) * unit));
  }
  // Rows alone do not keep the threads busy: share out the keys as well.
  const std::int64_t chunks = ceil_div(rows, chunk_rows);
  const bool split = problem.can_split_keys && streams * chunks < threads;
  const int parts = split ? static_cast<int>(ceil_div(wanted, streams * chunks)) : 1;

  // The last rows of a causal sequence see most: they go first.
  for (std::int64_t chunk = chunks - 1; chunk >= 0; --chunk) {
    const std::int64_t row = chunk * chunk_rows;
    const std::int64_t count = std::min(chunk_rows, rows - row);
    for (std::int64_t s = 0; s < sequences; ++s) {
      const PlanSequence& sequence = problem.sequences[static_cast<std::size_t>(s)];
      add_chunk(problem, s, {row, count, visible(problem, sequence, row, count)}, parts, plan);
    }
  }
}

}  // namespace rapt
