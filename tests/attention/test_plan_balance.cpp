// Plans simulated for more threads than any test machine has: enough items of similar cost, the
// most expensive ones first.
#include "attention/plan.hpp"
#include "core/random.hpp"
#include "dispatch/isa_table.hpp"
#include "linear/linear_plan.hpp"
#include "measure/work_cost.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

using kernels::KeyStorage;
using kernels::kUnlimited;
using tools::Cost;
using tools::Phase;

struct AttentionShape {
  std::int64_t batch, heads, kv_heads, q_len, kv_len, head_dim;
  bool causal;
};

/// A preset of `rapt bench` and the simulated efficiency that its plan must reach.
struct AttentionCase {
  const char* name;
  AttentionShape shape;
  double with_64, with_192;
};

// D1 on 192 threads: 8 kv heads of 32 key blocks are 256 equal items, and a key block is the
// smallest unit; two rounds of 192 threads keep two thirds of them busy. Memory bandwidth is the
// limit long before.
constexpr AttentionCase kAttention[] = {
    {"P1", {8, 12, 12, 512, 512, 64, false}, 0.9, 0.9},
    {"P2", {1, 32, 32, 2048, 2048, 128, true}, 0.9, 0.9},
    {"P3", {1, 32, 8, 4096, 4096, 128, true}, 0.9, 0.9},
    {"P4", {32, 12, 12, 128, 128, 32, false}, 0.9, 0.9},
    {"D1", {1, 32, 8, 1, 8192, 128, false}, 0.9, 0.6},
    {"D2", {16, 32, 8, 1, 2048, 128, false}, 0.9, 0.85},
};

struct LinearCase {
  const char* name;
  std::int64_t rows, in, out;
  double with_64, with_192;
};

// G2 on 192 threads: one row has 4096 outputs in 128 panels, fewer than threads. A few threads
// already reach memory bandwidth.
constexpr LinearCase kLinear[] = {
    {"G1", 4096, 768, 768, 0.9, 0.85},
    {"G1b", 512, 4096, 4096, 0.9, 0.85},
    {"G2", 1, 4096, 4096, 0.9, 0.6},
};

std::vector<PlanSequence> sequences_of(const AttentionShape& shape) {
  const std::int64_t end = shape.causal ? shape.kv_len - shape.q_len + 1 : kUnlimited;
  return std::vector<PlanSequence>(static_cast<std::size_t>(shape.batch),
                                   {shape.q_len, {.kv_len = shape.kv_len, .end = end}});
}

PlanProblem problem_of(const AttentionShape& shape, const kernels::KernelSet& set,
                       const std::vector<PlanSequence>& sequences, KeyStorage storage) {
  return {.kv_heads = shape.kv_heads,
          .group = shape.heads / shape.kv_heads,
          .head_dim = shape.head_dim,
          .value_dim = shape.head_dim,
          .can_split_keys = true,
          .storage = storage,
          .heads_adjacent = storage == KeyStorage::packed_pages,
          .stream_rows =
              stream_rows(set, {storage, kernels::kKeyBlock, shape.head_dim, shape.head_dim}),
          .sequences = sequences};
}

std::vector<Phase> phases_of(const AttentionShape& shape, const kernels::KernelSet& set,
                             int threads, KeyStorage storage = KeyStorage::rows) {
  const std::vector<PlanSequence> sequences = sequences_of(shape);
  const PlanProblem problem = problem_of(shape, set, sequences, storage);
  Plan plan;
  make_plan(problem, item_sizes(set, {}), threads, plan);
  return tools::attention_phases(problem, plan);
}

double efficiency(const AttentionShape& shape, const kernels::KernelSet& set, int threads) {
  const double alone = tools::makespan(phases_of(shape, set, 1), 1);
  return alone / (threads * tools::makespan(phases_of(shape, set, threads), threads));
}

}  // namespace

TEST_CASE("every preset is balanced over 64 and over 192 threads, with the tiles of every ISA") {
  for (const dispatch::IsaRow& row : dispatch::isa_table()) {
    if (row.isa == Isa::scalar) continue;
    CAPTURE(row.kernels->name);
    for (const AttentionCase& preset : kAttention) {
      CAPTURE(preset.name);
      for (const int threads : {64, 192}) {
        const auto phases = phases_of(preset.shape, *row.kernels, threads);
        CHECK(phases[0].items.size() >= static_cast<std::size_t>(threads));
        CHECK(efficiency(preset.shape, *row.kernels, threads) >=
              (threads == 64 ? preset.with_64 : preset.with_192));
      }
    }
  }
}

TEST_CASE("every matrix product is balanced over 64 and over 192 threads") {
  for (const LinearCase& preset : kLinear) {
    CAPTURE(preset.name);
    const auto phase = [&](int threads) {
      return tools::linear_phase("", preset.rows, preset.in, preset.out, threads);
    };
    for (const int threads : {2, 64, 192}) {
      const double alone = tools::makespan(phase(1), 1);
      const double share = alone / (threads * tools::makespan(phase(threads), threads));
      CHECK(share >= (threads == 2 ? 0.97 : threads == 64 ? preset.with_64 : preset.with_192));
    }
  }
}

TEST_CASE("two threads take nearly half of the planned time at every preset") {
  const kernels::KernelSet& set = *dispatch::isa_table().front().kernels;
  for (const AttentionCase& preset : kAttention) {
    CAPTURE(preset.name);
    CHECK(efficiency(preset.shape, set, 2) >= 0.97);
  }
}

TEST_CASE("a call that runs inline is planned for one thread") {
  const kernels::KernelSet& set = *dispatch::isa_table().front().kernels;
  const AttentionShape shape{1, 1, 1, 16, 200, 64, false};
  CHECK_FALSE(phases_of(shape, set, 8)[0].shared);
  CHECK(phases_of(shape, set, 8)[0].items.size() == phases_of(shape, set, 1)[0].items.size());
  CHECK(tools::linear_phase("", 4, 64, 1024, 8).items.size() == 1);
}

TEST_CASE("decoding over many keys is split by keys, and each key is packed once") {
  for (const dispatch::IsaRow& row : dispatch::isa_table()) {
    CAPTURE(row.kernels->name);
    for (const std::int64_t q_len : {16, 64}) {
      const AttentionShape shape{1, 1, 1, q_len, 16384, 64, false};
      const auto phases = phases_of(shape, *row.kernels, 2);
      CHECK(phases.size() == 2);  // the second folds
      CHECK(phases[0].sum().packing <= 1.05 * phases_of(shape, *row.kernels, 1)[0].sum().packing);
      CHECK(efficiency(shape, *row.kernels, 2) >= 0.95);
    }
  }
}

TEST_CASE("the cost of K and V is that of packing: less for decoding, none in packed pages") {
  for (const dispatch::IsaRow& row : dispatch::isa_table()) {
    const kernels::KernelSet& set = *row.kernels;
    CAPTURE(set.name);
    const std::int64_t keys = 1000, whole = 4 * set.lanes, ragged = whole + 1;
    const std::int64_t few = stream_rows(set, {KeyStorage::rows, 0, whole, whole});
    const auto per_element = [&](std::int64_t rows, std::int64_t head_dim, KeyStorage storage) {
      const AttentionShape shape{1, 1, 1, rows, keys, head_dim, false};
      const double packing = phases_of(shape, set, 1, storage)[0].sum().packing;
      const double queries = 3.0 * static_cast<double>(rows * head_dim);
      return (packing - queries) / static_cast<double>(keys * head_dim);
    };
    CHECK(per_element(few, whole, KeyStorage::rows) == 5.0);
    CHECK(per_element(few + 1, whole, KeyStorage::rows) == 6.0 + 2.0);
    if (set.lanes > 1) CHECK(per_element(few, ragged, KeyStorage::rows) == 6.0 + 2.0);
    CHECK(per_element(few, whole, KeyStorage::packed_pages) == 0.0);
    CHECK(per_element(few + 1, ragged, KeyStorage::packed_pages) == 0.0);
  }
}

TEST_CASE("the items of a causal sequence come largest first") {
  const kernels::KernelSet& set = *dispatch::isa_table().front().kernels;
  for (const int threads : {1, 2, 64, 192}) {
    const auto phases = phases_of({1, 32, 8, 4096, 4096, 128, true}, set, threads);
    const std::vector<Cost>& items = phases[0].items;
    CHECK(std::is_sorted(items.begin(), items.end(),
                         [](const Cost& a, const Cost& b) { return a.total() > b.total(); }));
  }
}

TEST_CASE("enough rows of equal cost keep any number of threads busy") {
  const kernels::KernelSet& set = *dispatch::isa_table().front().kernels;
  const std::uint64_t samples = quick() ? 100 : 1000;
  for (std::uint64_t seed = 0; seed < samples; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const int threads = static_cast<int>(2 + random.below(200));
    AttentionShape shape{.batch = 1 + random.below(16),
                         .heads = 0,
                         .kv_heads = 1 + random.below(16),
                         .q_len = 0,
                         .kv_len = 300 + random.below(3000),
                         .head_dim = 32 << random.below(3),
                         .causal = false};
    shape.heads = shape.kv_heads * (1 + random.below(4));
    const std::int64_t min_rows = 100 * threads / (shape.batch * shape.heads) + 16;
    shape.q_len = min_rows + random.below(1000);
    CAPTURE(threads);
    CAPTURE(shape.q_len);
    CHECK(efficiency(shape, set, threads) >= 0.7);
  }
}

}  // namespace rapt::test
