// The plan of an attention call covers every row and every relevant key block exactly once, for all
// shapes, tiles and threads.
#include "attention/plan.hpp"
#include "core/random.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <compare>
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

namespace rapt::test {
namespace {

using kernels::KeyStorage;
using kernels::kItemHeads;
using kernels::kKeyBlock;
using kernels::kUnlimited;

/// (sequence, kv head, row) of every row of the problem.
using RowKey = std::tuple<std::int64_t, std::int64_t, std::int64_t>;

struct RandomProblem {
  explicit RandomProblem(std::uint64_t seed) {
    Random random(seed);
    problem = {.kv_heads = random.below(20),
               .group = 1 + random.below(9),
               .head_dim = 1 + random.below(300),
               .value_dim = random.below(300),
               .can_split_keys = random.below(3) != 0,
               .storage = random.below(2) == 0 ? KeyStorage::packed_pages : KeyStorage::rows,
               .heads_adjacent = random.below(2) == 0,
               .stream_rows = random.below(9),
               .sequences = {}};
    const std::int64_t common_q_len = random.below(2) == 0 ? random.below(3) : random.below(400);
    const bool ragged = random.below(2) == 0;
    for (std::int64_t n = random.below(4); n > 0; --n) {
      const std::int64_t q_len = ragged ? random.below(n == 1 ? 400 : 5) : common_q_len;
      const std::int64_t kv_len = random.below(3) == 0 ? random.below(3) : random.below(9000);
      const bool causal = random.below(2) == 0;
      const bool window = random.below(2) == 0;
      const std::int64_t begin = window ? random.below(kv_len + 50) - 600 : -kUnlimited;
      const std::int64_t end = causal ? random.below(kv_len + 50) - 20 : kUnlimited;
      const std::int64_t prefix = random.below(4) == 0 ? random.below(kv_len + 1) : 0;
      const std::int64_t limit = random.below(4) == 0 ? random.below(kv_len + 50) : kUnlimited;
      const std::int64_t first_key = random.below(4) == 0 ? random.below(kv_len + 1) : 0;
      sequences.push_back({q_len, {kv_len, begin, end, prefix, limit, first_key}});
    }
    problem.sequences = sequences;
    tiles = {.rows = 1 + random.below(12), .query_rows = 0};
    tiles.query_rows = tiles.rows * (1 + random.below(16));
    threads = static_cast<int>(1 + random.below(100));
  }

  std::vector<PlanSequence> sequences;
  PlanProblem problem{};
  ItemSizes tiles{};
  int threads = 1;
};

/// Blocks or floats [first, last).
struct Range {
  std::int64_t first;
  std::int64_t last;
  auto operator<=>(const Range&) const = default;
};

/// The key blocks that a row may see; an empty range if it sees no key.
Range blocks_of(const PlanProblem& problem, std::int64_t sequence, std::int64_t row) {
  const kernels::VisibleKeys& s = problem.sequences[static_cast<std::size_t>(sequence)].visible;
  const std::int64_t query = row / problem.group;
  const std::int64_t begin = std::max(query + s.begin, s.first_key);
  const std::int64_t end = std::min({s.kv_len, query + s.limit, std::max(query + s.end, s.prefix)});
  if (begin >= end) return {0, 0};
  return {begin / kKeyBlock, (end + kKeyBlock - 1) / kKeyBlock};
}

std::int64_t rows_of(const PlanProblem& problem, std::int64_t sequence) {
  return problem.sequences[static_cast<std::size_t>(sequence)].q_len * problem.group;
}

/// The kv heads of an item or a split.
Range heads_of(const WorkItem& item) { return {item.kv_head, item.kv_head + item.kv_heads}; }
Range heads_of(const KeySplit& split) { return {split.kv_head, split.kv_head + 1}; }

/// Whether the item's rows, kv heads and blocks are inside the problem.
template <class Item>
bool inside(const PlanProblem& problem, const Item& item) {
  const auto sequences = static_cast<std::int64_t>(problem.sequences.size());
  const Range heads = heads_of(item);
  return item.sequence >= 0 && item.sequence < sequences && heads.first >= 0 &&
         heads.first < heads.last && heads.last <= problem.kv_heads && item.row_begin >= 0 &&
         item.rows >= 1 && item.row_begin + item.rows <= rows_of(problem, item.sequence) &&
         item.block_begin >= 0 && item.block_begin <= item.block_end;
}

/// Whether the parts, in any order, form a range without gap or overlap that contains `whole`.
bool cover(std::vector<Range> parts, Range whole) {
  std::sort(parts.begin(), parts.end());
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].first != parts[i - 1].last) return false;
  }
  if (whole.first == whole.last) return true;
  return !parts.empty() && parts.front().first <= whole.first && parts.back().last >= whole.last;
}

bool covers_every_row(const RandomProblem& random, const Plan& plan) {
  const PlanProblem& problem = random.problem;
  std::map<RowKey, std::vector<Range>> blocks;
  for (const WorkItem& item : plan.items) {
    for (std::int64_t head = heads_of(item).first; head < heads_of(item).last; ++head) {
      for (std::int64_t row = item.row_begin; row < item.row_begin + item.rows; ++row) {
        blocks[{item.sequence, head, row}].push_back({item.block_begin, item.block_end});
      }
    }
  }
  std::int64_t rows = 0;
  for (const PlanSequence& s : problem.sequences) rows += s.q_len;
  rows *= problem.group * problem.kv_heads;
  if (static_cast<std::int64_t>(blocks.size()) != rows) return false;
  return std::all_of(blocks.begin(), blocks.end(), [&](const auto& entry) {
    const auto& [sequence, kv_head, row] = entry.first;
    return cover(entry.second, blocks_of(problem, sequence, row));
  });
}

/// The requirements of KernelSet::attend on a multi-head item.
bool may_be_multi_head(const PlanProblem& problem, const WorkItem& item) {
  if (item.kv_heads == 1) return true;
  return problem.heads_adjacent && item.rows <= problem.stream_rows &&
         item.kv_heads <= kItemHeads && item.split < 0;
}

/// The items of every split share its rows, and the states of all splits are contiguous in the
/// buffer.
bool splits_are_sound(const PlanProblem& problem, const Plan& plan) {
  std::vector<Range> states;
  for (const KeySplit& split : plan.splits) {
    if (!inside(problem, split)) return false;
    const std::int64_t block = split.rows * state_stride_of(problem.value_dim);
    states.push_back({split.state_offset + split.block_begin * block,
                      split.state_offset + split.block_end * block});
  }
  for (const WorkItem& item : plan.items) {
    if (item.split < 0) continue;
    const KeySplit& split = plan.splits.at(static_cast<std::size_t>(item.split));
    if (item.sequence != split.sequence || item.kv_head != split.kv_head ||
        item.row_begin != split.row_begin || item.rows != split.rows ||
        item.block_begin < split.block_begin || item.block_end > split.block_end) {
      return false;
    }
  }
  const bool inside_buffer = std::all_of(states.begin(), states.end(), [&plan](const Range& part) {
    return part.first >= 0 && part.last <= plan.state_floats;
  });
  return inside_buffer && cover(states, {0, plan.state_floats});
}

}  // namespace

TEST_CASE("an item that ends between the heads of a query includes that query's last key") {
  for (const std::int64_t group : {2, 3, 5, 7}) {
    for (std::int64_t q_len = 257; q_len < 560; ++q_len) {
      const std::vector<PlanSequence> causal{{q_len, {.kv_len = q_len, .end = 1}}};
      const PlanProblem problem{.kv_heads = 1,
                                .group = group,
                                .head_dim = 64,
                                .value_dim = 64,
                                .can_split_keys = false,
                                .sequences = causal};
      for (const int threads : {5, 40}) {
        Plan plan;
        make_plan(problem, {.rows = 8, .query_rows = 64}, threads, plan);
        REQUIRE(!plan.items.empty());
        for (const WorkItem& item : plan.items) {
          const std::int64_t last = item.row_begin + item.rows - 1;
          CHECK_MESSAGE(item.block_end == blocks_of(problem, 0, last).last, "group ", group,
                        " q_len ", q_len, " threads ", threads);
        }
      }
    }
  }
}

TEST_CASE("a plan covers every row with all its key blocks exactly once") {
  Plan plan;  // One for all problems: nothing may depend on an earlier plan.
  for (std::uint64_t seed = 0; seed < (quick() ? 300u : 2000u); ++seed) {
    CAPTURE(seed);
    const RandomProblem random(seed);
    make_plan(random.problem, random.tiles, random.threads, plan);
    for (const WorkItem& item : plan.items) {
      CHECK(inside(random.problem, item));
      CHECK(may_be_multi_head(random.problem, item));
    }
    CHECK(covers_every_row(random, plan));
    CHECK(splits_are_sound(random.problem, plan));
    if (!random.problem.can_split_keys) CHECK(plan.splits.empty());
  }
}

TEST_CASE("one query against a long cache is split by keys, and many queries by rows") {
  std::vector<PlanSequence> cache{{1, {.kv_len = 100'000}}};
  const ItemSizes tiles{.rows = 6, .query_rows = 96};
  const PlanProblem problem{.kv_heads = 1,
                            .group = 4,
                            .head_dim = 128,
                            .value_dim = 128,
                            .can_split_keys = true,
                            .sequences = cache};
  Plan plan;
  make_plan(problem, tiles, 8, plan);
  CHECK(plan.splits.size() == 1);
  CHECK(plan.items.size() >= 8);
  make_plan(problem, tiles, 1, plan);
  CHECK(plan.splits.empty());
  CHECK(plan.items.size() == 1);
  cache[0].q_len = 5000;
  make_plan(problem, tiles, 8, plan);
  CHECK(plan.splits.empty());
  CHECK(plan.items.size() >= 8);
}

TEST_CASE("a long sequence among short ones is split by keys, and the largest items come first") {
  std::vector<PlanSequence> mixed(40, {1, {.kv_len = 300}});
  mixed[17] = {1, {.kv_len = 200'000}};  // more than a thread's share of the keys
  mixed[30].q_len = 0;
  const PlanProblem problem{.kv_heads = 1,
                            .group = 4,
                            .head_dim = 128,
                            .value_dim = 128,
                            .can_split_keys = true,
                            .sequences = mixed};
  Plan plan;
  make_plan(problem, {.rows = 6, .query_rows = 96}, 8, plan);
  CHECK(plan.splits.size() == 1);
  CHECK(plan.items.size() >= 38 + 16);
  const auto blocks = [](const WorkItem& item) { return item.block_end - item.block_begin; };
  CHECK(plan.items.front().sequence == 17);
  CHECK(plan.items.back().sequence != 17);
  CHECK(std::all_of(plan.items.begin(), plan.items.end(),
                    [&](const WorkItem& item) { return blocks(item) <= 200'000 / 256 / 16; }));
}

TEST_CASE("adjacent kv heads share an item as long as every thread has enough items") {
  const std::vector<PlanSequence> sequences(16, {1, {.kv_len = 2048}});
  PlanProblem problem{.kv_heads = 12,
                      .group = 4,
                      .head_dim = 128,
                      .value_dim = 128,
                      .can_split_keys = true,
                      .storage = KeyStorage::packed_pages,
                      .heads_adjacent = true,
                      .stream_rows = 6,
                      .sequences = std::span(sequences).first(1)};
  const auto heads_of_items = [&](int threads) {
    Plan plan;
    make_plan(problem, {.rows = 6, .query_rows = 96}, threads, plan);
    std::vector<std::int64_t> heads;
    for (const WorkItem& item : plan.items) heads.push_back(item.kv_heads);
    return heads;
  };
  CHECK(heads_of_items(1) == std::vector<std::int64_t>{6, 6});
  CHECK(heads_of_items(2) == std::vector<std::int64_t>(12, 1));
  problem.sequences = sequences;
  CHECK(heads_of_items(2) == std::vector<std::int64_t>(16 * 2, 6));
  CHECK(heads_of_items(12) == std::vector<std::int64_t>(16 * 3, 4));
  problem.stream_rows = 3;
  CHECK(heads_of_items(2) == std::vector<std::int64_t>(16 * 12, 1));
  problem.stream_rows = 6;
  problem.storage = KeyStorage::rows;
  CHECK(heads_of_items(12) == std::vector<std::int64_t>(16 * 2, 6));
  problem.sequences = std::span(sequences).first(1);
  CHECK(heads_of_items(2) == std::vector<std::int64_t>{6, 6});
  CHECK(heads_of_items(4) == std::vector<std::int64_t>{3, 3, 3, 3});
  problem.heads_adjacent = false;
  CHECK(heads_of_items(2) == std::vector<std::int64_t>(12, 1));
}

TEST_CASE("a task has many items only if they are small, equal and enough for every thread") {
  const auto grain = [](std::int64_t batch, std::int64_t tokens, std::int64_t last, int threads) {
    std::vector<PlanSequence> sequences(static_cast<std::size_t>(batch), {tokens, {tokens}});
    sequences.back().visible.kv_len = last;
    Plan plan;
    make_plan({.kv_heads = 12,
               .group = 1,
               .head_dim = 32,
               .value_dim = 32,
               .can_split_keys = true,
               .sequences = sequences},
              {.rows = 6, .query_rows = 96}, threads, plan);
    return plan.grain;
  };
  CHECK(grain(64, 16, 16, 2) == 16);  // 2^14 multiply-adds each
  CHECK(grain(64, 16, 16, 8) == 6);
  CHECK(grain(64, 16, 16, 1) == 1);
  CHECK(grain(64, 16, 15, 2) == 1);
  CHECK(grain(64, 128, 128, 2) == 1);
}

TEST_CASE("the plan of a call without rows is empty") {
  Plan plan;
  make_plan({.kv_heads = 2,
             .group = 1,
             .head_dim = 8,
             .value_dim = 8,
             .can_split_keys = true,
             .sequences = {}},
            {.rows = 2, .query_rows = 32}, 4, plan);
  CHECK(plan.items.empty());
  CHECK(plan.splits.empty());
  CHECK(plan.state_floats == 0);
}

}  // namespace rapt::test
