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

void add_chunk(const PlanProblem& problem, std::int64_t sequence, const Chunk& chunk,
               std::int64_t parts, Plan& plan) {
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
}

/// What the sequences ask for together.
struct Totals {
  std::int64_t sequences = 0;  // that have rows
  std::int64_t rows = 0;       // of all of them, per kv head
  std::int64_t most_rows = 0;  // of one of them
  bool alike = true;           // all have the same lengths
};

Totals count_rows(const PlanProblem& problem) {
  Totals totals;
  for (const PlanSequence& sequence : problem.sequences) {
    const std::int64_t rows = sequence.q_len * problem.group;
    totals.sequences += rows > 0 ? 1 : 0;
    totals.rows += rows;
    totals.most_rows = std::max(totals.most_rows, rows);
    totals.alike = totals.alike && sequence.q_len == problem.sequences[0].q_len &&
                   sequence.kv_len == problem.sequences[0].kv_len;
  }
  return totals;
}

/// Rows of the chunks that every sequence is cut into: enough chunks for the threads, yet as large
/// as pays.
std::int64_t choose_chunk_rows(const PlanProblem& problem, const kernels::Tiles& tiles,
                               const Totals& totals, std::int64_t wanted) {
  const std::int64_t most = std::min(most_rows(problem, tiles), totals.most_rows);
  const std::int64_t streams = totals.sequences * problem.kv_heads;
  const std::int64_t rows = ceil_div(totals.rows, totals.sequences);
  if (streams * ceil_div(rows, most) >= wanted) return most;
  const std::int64_t chunks = ceil_div(wanted, streams);
  const std::int64_t unit = rows > tiles.query_rows ? tiles.query_rows : tiles.rows;
  return std::min(most, std::max(unit, ceil_div(ceil_div(rows, chunks), unit) * unit));
}

/// Calls add(sequence, chunk) for every chunk of rows. The last rows of a causal sequence see most:
/// they go first.
template <class Add>
void for_chunks(const PlanProblem& problem, const Totals& totals, std::int64_t chunk_rows,
                const Add& add) {
  const auto sequences = static_cast<std::int64_t>(problem.sequences.size());
  for (std::int64_t chunk = ceil_div(totals.most_rows, chunk_rows) - 1; chunk >= 0; --chunk) {
    const std::int64_t row = chunk * chunk_rows;
    for (std::int64_t s = 0; s < sequences; ++s) {
      const PlanSequence& sequence = problem.sequences[static_cast<std::size_t>(s)];
      const std::int64_t count = std::min(chunk_rows, sequence.q_len * problem.group - row);
      if (count > 0) add(s, Chunk{row, count, visible(problem, sequence, row, count)});
    }
  }
}

/// Largest first, so that no thread begins a long item when the others are done. Chunks of equal
/// sequences come in that order by themselves.
void sort_items(const PlanProblem& problem, Plan& plan) {
  const auto work = [&](const WorkItem& item) {
    const PlanSequence& sequence = problem.sequences[static_cast<std::size_t>(item.sequence)];
    const Keys keys = visible(problem, sequence, item.row_begin, item.rows);
    const std::int64_t begin = std::max(keys.begin, item.block_begin * kKeyBlock);
    const std::int64_t end = std::min(keys.end, item.block_end * kKeyBlock);
    return std::max<std::int64_t>(end - begin, 0) * item.rows;
  };
  std::stable_sort(plan.items.begin(), plan.items.end(),
                   [&](const WorkItem& a, const WorkItem& b) { return work(a) > work(b); });
}

}  // namespace

void make_plan(const PlanProblem& problem, const kernels::Tiles& tiles, int threads, Plan& plan) {
  plan.items.clear();
  plan.splits.clear();
  plan.state_floats = 0;
  plan.state_stride =
      ceil_div(problem.value_dim, kernels::kPanel) * kernels::kPanel + kernels::kStateExtra;
  plan.multiply_adds = 0;
  const Totals totals = count_rows(problem);
  if (totals.rows == 0 || problem.kv_heads == 0) return;

  // Four items a thread even out what the machine and causal masks make uneven.
  const std::int64_t wanted = threads > 1 ? 4 * static_cast<std::int64_t>(threads) : 1;
  const std::int64_t chunk_rows = choose_chunk_rows(problem, tiles, totals, wanted);
  const auto kv_heads = static_cast<double>(problem.kv_heads);
  std::int64_t chunks = 0;
  for_chunks(problem, totals, chunk_rows, [&](std::int64_t, const Chunk& chunk) {
    plan.multiply_adds += work_of(problem, chunk.keys, chunk.rows) * kv_heads;
    ++chunks;
  });
  // Where rows alone do not keep the threads busy, the keys are shared out as well: those of every
  // chunk when there are fewer chunks than threads, and those of a chunk that by itself is more
  // than a thread's share.
  const bool split = problem.can_split_keys && threads > 1;
  const std::int64_t items = chunks * problem.kv_heads;
  const std::int64_t parts = split && items < threads ? ceil_div(wanted, items) : 1;
  for_chunks(problem, totals, chunk_rows, [&](std::int64_t s, const Chunk& chunk) {
    const double shares =
        work_of(problem, chunk.keys, chunk.rows) * threads / std::max(plan.multiply_adds, 1.0);
    const bool too_long = split && shares > 1.0;
    add_chunk(problem, s, chunk,
              too_long ? std::max(parts, static_cast<std::int64_t>(4.0 * shares)) : parts, plan);
  });
  if (!totals.alike && threads > 1) sort_items(problem, plan);
}

}  // namespace rapt
