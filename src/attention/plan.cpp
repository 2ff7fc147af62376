#include "attention/plan.hpp"

#include "core/tuning.hpp"
#include "parallel/balance.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

namespace rapt {
namespace {

using kernels::kKeyBlock;

/// a / b, rounded up, for a >= 0. Planning a tiny call is mostly divisions: a <= b needs none.
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  if (a <= b) return a > 0 ? 1 : 0;
  return (a + b - 1) / b;
}

/// Maximum rows of an item, see CallTuning::item_output_floats.
std::int64_t max_rows(const PlanProblem& problem, const ItemSizes& sizes) {
  const std::int64_t width = std::max<std::int64_t>(problem.head_dim, problem.value_dim);
  const std::int64_t query_tiles = sizes.call.item_output_floats / (width * sizes.query_rows);
  return std::clamp<std::int64_t>(query_tiles, 1, 8) * sizes.query_rows;
}

/// Keys that rows [row, row + rows) may see.
Keys visible(const PlanProblem& problem, const PlanSequence& sequence, std::int64_t row,
             std::int64_t rows) {
  const std::int64_t group = problem.group;
  const std::int64_t first = group == 1 ? row : row / group;
  const std::int64_t last = group == 1 ? row + rows - 1 : (row + rows - 1) / group;
  return keys_seen(sequence.visible, first, last);
}

/// Counts the whole rectangle, though a mask hides about half of its corner blocks: exact enough to
/// order items.
double work_of(const PlanProblem& problem, Keys keys, std::int64_t rows) {
  return static_cast<double>(rows) * static_cast<double>(keys.end - keys.begin) *
         static_cast<double>(problem.head_dim + problem.value_dim);
}

struct Chunk {
  std::int64_t row, rows;
  Keys keys;
};

/// The parts of a chunk: groups of kv heads, or ranges of the keys of every kv head.
struct ChunkParts {
  std::int64_t heads, keys;
};

void add_chunk(const PlanProblem& problem, std::int64_t sequence, const Chunk& chunk,
               const ChunkParts& parts, Plan& plan) {
  const std::int64_t first = chunk.keys.begin / kKeyBlock;
  const std::int64_t last = std::max(first, ceil_div(chunk.keys.end, kKeyBlock));
  const std::int64_t blocks = last - first;
  const auto route =
      chunk.rows <= problem.stream_rows ? kernels::Route::stream : kernels::Route::tile;
  // The fewest pieces with the same largest size: each piece is a state to write and to fold.
  const std::int64_t piece_blocks = std::max<std::int64_t>(1, ceil_div(blocks, parts.keys));
  const std::int64_t pieces = std::max<std::int64_t>(1, ceil_div(blocks, piece_blocks));
  if (pieces == 1) {
    for (std::int64_t part = 0; part < parts.heads; ++part) {
      const std::int64_t head = problem.kv_heads * part / parts.heads;
      const std::int64_t heads = problem.kv_heads * (part + 1) / parts.heads - head;
      plan.items.push_back({sequence, head, heads, chunk.row, chunk.rows, first, last, -1, route});
    }
    return;
  }
  for (std::int64_t head = 0; head < problem.kv_heads; ++head) {
    const auto split = static_cast<std::int64_t>(plan.splits.size());
    // States are addressed by absolute block; those before `first` have no memory.
    const std::int64_t block_floats = chunk.rows * state_stride_of(problem.value_dim);
    plan.splits.push_back({sequence, head, chunk.row, chunk.rows, first, last,
                           plan.state_floats - first * block_floats});
    plan.state_floats += blocks * block_floats;
    for (std::int64_t piece = 0; piece < pieces; ++piece) {
      plan.items.push_back({sequence, head, 1, chunk.row, chunk.rows,
                            first + blocks * piece / pieces, first + blocks * (piece + 1) / pieces,
                            split, route});
    }
  }
}

/// Sums and maxima over the sequences of a call.
struct Totals {
  std::int64_t sequences = 0;  // with rows
  std::int64_t rows = 0;       // sum, per kv head
  std::int64_t max_rows = 0;   // maximum over sequences
  std::int64_t max_keys = 0;   // maximum over sequences
  bool equal_lengths = true;   // of all sequences
  double max_work = 0;         // bound on multiply-adds: rows times the keys that any of them sees
};

Totals count_rows(const PlanProblem& problem) {
  Totals totals;
  for (const PlanSequence& sequence : problem.sequences) {
    const std::int64_t rows = sequence.q_len * problem.group;
    totals.sequences += rows > 0 ? 1 : 0;
    totals.rows += rows;
    if (rows > 0) {
      const Keys keys = visible(problem, sequence, 0, rows);
      totals.max_work += work_of(problem, keys, rows) * static_cast<double>(problem.kv_heads);
    }
    totals.max_rows = std::max(totals.max_rows, rows);
    totals.max_keys = std::max(totals.max_keys, sequence.visible.kv_len);
    const PlanSequence& first = problem.sequences[0];
    totals.equal_lengths = totals.equal_lengths && sequence.q_len == first.q_len &&
                           sequence.visible.kv_len == first.visible.kv_len &&
                           sequence.visible.first_key == first.visible.first_key;
  }
  return totals;
}

/// Whether every row of every sequence sees the same number of keys.
bool is_even(const PlanProblem& problem, const Totals& totals) {
  return totals.equal_lengths &&
         std::all_of(problem.sequences.begin(), problem.sequences.end(),
                     [](const PlanSequence& sequence) {
                       const kernels::VisibleKeys& keys = sequence.visible;
                       return end_of_visible(keys, 0) == keys.kv_len &&
                              sequence.q_len - 1 + keys.begin <= keys.first_key;
                     });
}

/// Minimum rows of a chunk, see CallTuning::min_item_rows.
std::int64_t min_rows(const PlanProblem& problem, const ItemSizes& sizes, const Totals& totals) {
  const bool split = problem.can_split_keys && totals.max_keys > kKeyBlock;
  return split ? ceil_div(sizes.call.min_item_rows, sizes.rows) * sizes.rows : sizes.rows;
}

/// The rows of a chunk, a multiple of `unit`, for which the threads finish first if all rows cost
/// the same.
std::int64_t even_rows(std::int64_t streams, std::int64_t rows, std::int64_t most,
                       std::int64_t least, std::int64_t unit, std::int64_t threads) {
  const std::int64_t finest = ceil_div(8 * threads, streams);
  std::int64_t best_rows = most;
  double best = std::numeric_limits<double>::max();
  for (std::int64_t chunks = ceil_div(rows, most); chunks <= finest; ++chunks) {
    const std::int64_t chunk =
        std::min(most, std::max(least, ceil_div(ceil_div(rows, chunks), unit) * unit));
    const double size = static_cast<double>(chunk) + tuning::kPackRows;
    const std::int64_t rest = rows % chunk;
    const Cut cut{streams * (rows / chunk), rest > 0 ? streams : 0,
                  (static_cast<double>(rest) + tuning::kPackRows) / size};
    const double time = rounds_of(cut, threads) * size;
    if (time < best) {
      best = time;
      best_rows = chunk;
    }
    if (chunk <= least) break;
  }
  return best_rows;
}

/// The rows of a chunk, for all sequences: enough chunks for the threads, each as large as
/// possible. Four items per thread even out the differences that causal masks and the machine
/// cause.
std::int64_t choose_chunk_rows(const PlanProblem& problem, const ItemSizes& sizes,
                               const Totals& totals, std::int64_t threads) {
  const std::int64_t most = std::min(max_rows(problem, sizes), totals.max_rows);
  if (threads == 1) return most;
  const std::int64_t streams = totals.sequences * problem.kv_heads;
  const std::int64_t rows = ceil_div(totals.rows, totals.sequences);
  const std::int64_t target_items = 4 * threads;
  const std::int64_t least = min_rows(problem, sizes, totals);
  if (rows > sizes.rows && is_even(problem, totals)) {
    // Two chunks of different sizes would not balance, and their keys would not be split.
    if (least > sizes.rows && rows < 2 * least) return most;
    return even_rows(streams, rows, most, least, sizes.rows, threads);
  }
  if (streams * ceil_div(rows, most) >= target_items) return most;
  const std::int64_t chunks = ceil_div(target_items, streams);
  const std::int64_t unit = rows > sizes.query_rows ? sizes.query_rows : sizes.rows;
  return std::min(most, std::max({unit, least, ceil_div(ceil_div(rows, chunks), unit) * unit}));
}

/// Calls add(sequence, chunk) for every chunk of rows, last chunk first: under a causal mask the
/// last rows see most keys. Chunks are counted from the end, so that the partial chunk is the
/// cheapest one.
template <class Add>
void for_chunks(const PlanProblem& problem, const Totals& totals, std::int64_t chunk_rows,
                const Add& add) {
  const auto sequences = static_cast<std::int64_t>(problem.sequences.size());
  for (std::int64_t chunk = ceil_div(totals.max_rows, chunk_rows) - 1; chunk >= 0; --chunk) {
    for (std::int64_t s = 0; s < sequences; ++s) {
      const PlanSequence& sequence = problem.sequences[static_cast<std::size_t>(s)];
      const std::int64_t rows = sequence.q_len * problem.group;
      const std::int64_t end = rows - (ceil_div(rows, chunk_rows) - 1 - chunk) * chunk_rows;
      const std::int64_t row = std::max<std::int64_t>(0, end - chunk_rows);
      const std::int64_t count = end - row;
      if (end <= rows) add(s, Chunk{row, count, visible(problem, sequence, row, count)});
    }
  }
}

/// The number of chunks per kv head, and the multiply-adds of all heads.
struct ChunkTotals {
  std::int64_t count = 0;
  double work = 0;
};

ChunkTotals count_chunks(const PlanProblem& problem, const Totals& totals,
                         std::int64_t chunk_rows) {
  ChunkTotals chunks;
  for_chunks(problem, totals, chunk_rows, [&](std::int64_t, const Chunk& chunk) {
    ++chunks.count;
    chunks.work += work_of(problem, chunk.keys, chunk.rows) * static_cast<double>(problem.kv_heads);
  });
  return chunks;
}

/// The number of groups of kv heads that share an item on the decode path, given `items` items of
/// one head: as few groups as kItemHeads and enough items per thread allow. In packed pages sharing
/// saves little, so 4 items per thread are kept for balance; in rows it saves more than an
/// imbalance costs.
std::int64_t groups_of_heads(const PlanProblem& problem, std::int64_t items, std::int64_t threads) {
  if (!problem.heads_adjacent) return problem.kv_heads;
  constexpr std::int64_t most = kernels::kItemHeads;
  const std::int64_t enough = problem.storage == kernels::KeyStorage::packed_pages ? 4 : 1;
  const std::int64_t heads =
      threads == 1 ? most : std::clamp<std::int64_t>(items / (enough * threads), 1, most);
  return ceil_div(problem.kv_heads, heads);
}

/// Largest first, so that no thread starts a long item when the others are done. Sequences of equal
/// lengths give that order without sorting.
void sort_items(const PlanProblem& problem, Plan& plan) {
  const auto work = [&](const WorkItem& item) {
    const PlanSequence& sequence = problem.sequences[static_cast<std::size_t>(item.sequence)];
    const Keys keys = visible(problem, sequence, item.row_begin, item.rows);
    const std::int64_t begin = std::max(keys.begin, item.block_begin * kKeyBlock);
    const std::int64_t end = std::min(keys.end, item.block_end * kKeyBlock);
    return std::max<std::int64_t>(end - begin, 0) * item.rows * item.kv_heads;
  };
  // Not stable_sort, which allocates; the remaining members of the key make the order unique.
  const auto key = [&](const WorkItem& item) {
    return std::tuple(-work(item), -item.row_begin, item.sequence, item.kv_head, item.block_begin);
  };
  std::sort(plan.items.begin(), plan.items.end(),
            [&](const WorkItem& a, const WorkItem& b) { return key(a) < key(b); });
}

/// Items that one task computes, if all sequences have the same lengths: a task costs as much as
/// some 2^12 multiply-adds. At least 16 tasks a thread are left for balance.
std::int64_t items_of_task(const Plan& plan, std::int64_t threads) {
  constexpr double kTaskWork = 1 << 18;
  const auto items = static_cast<std::int64_t>(plan.items.size());
  const auto enough = static_cast<std::int64_t>(kTaskWork * static_cast<double>(items) /
                                                std::max(plan.multiply_adds, 1.0));
  return std::max<std::int64_t>(1, std::min(enough, items / (16 * threads)));
}

}  // namespace

void make_plan(const PlanProblem& problem, const ItemSizes& sizes, int threads, Plan& plan) {
  plan.items.clear();
  plan.splits.clear();
  plan.state_floats = 0;
  plan.multiply_adds = 0;
  plan.shared = false;
  plan.grain = 1;
  const Totals totals = count_rows(problem);
  if (totals.rows == 0 || problem.kv_heads == 0) return;

  // Items that run inline are not cut: each item packs its keys again.
  if (!sizes.call.wakes_threads(totals.max_work)) threads = 1;
  const std::int64_t chunk_rows = choose_chunk_rows(problem, sizes, totals, threads);
  // If rows alone leave more than a quarter of the threads idle, keys are split as well: of every
  // chunk if there are too few chunks, and of a chunk that exceeds a thread's share by more than a
  // third.
  const bool split = problem.can_split_keys && threads > 1;
  const ChunkTotals chunks =
      threads > 1 ? count_chunks(problem, totals, chunk_rows) : ChunkTotals();
  const std::int64_t items = chunks.count * problem.kv_heads;
  const std::int64_t parts = split && 4 * items < 3 * std::int64_t{threads}
                                 ? ceil_div(4 * std::int64_t{threads}, items)
                                 : 1;
  const std::int64_t groups = groups_of_heads(problem, items, threads);
  for_chunks(problem, totals, chunk_rows, [&](std::int64_t s, const Chunk& chunk) {
    const double work = work_of(problem, chunk.keys, chunk.rows);
    plan.multiply_adds += work * static_cast<double>(problem.kv_heads);
    const double shares = split ? work * threads / std::max(chunks.work, 1.0) : 0.0;
    const bool too_long = 3.0 * shares > 4.0;
    add_chunk(problem, s, chunk,
              {chunk.rows <= problem.stream_rows ? groups : problem.kv_heads,
               too_long ? std::max(parts, static_cast<std::int64_t>(4.0 * shares)) : parts},
              plan);
  });
  plan.shared = sizes.call.wakes_threads(plan.multiply_adds);
  if (threads == 1) return;
  if (totals.equal_lengths) {
    plan.grain = items_of_task(plan, threads);
  } else {
    sort_items(problem, plan);
  }
}

}  // namespace rapt
