// Vector operations per element, counted in the kernels, and their sums over items.
#include "measure/work_cost.hpp"

#include "linear/linear_plan.hpp"

#include <algorithm>
#include <functional>
#include <queue>

namespace rapt::tools {
namespace {

using kernels::kKeyBlock;
using kernels::kPanel;

// Per score: maximum, subtraction, exp2 (10), sum (docs/kernels.md).
constexpr double kSoftmaxOperations = 13;
// Per element: transposing vectors is about 6 loads, shuffles and stores for each of them, one less
// without the store; a row is loaded, scaled and stored; a copy is loaded and stored; a fold is a
// load, a product, a multiply-add and a store.
constexpr double kTransposeOperations = 6;
constexpr double kTransposeInRegisters = 5;
constexpr double kScaleOperations = 3;
constexpr double kCopyOperations = 2;
constexpr double kFoldOperations = 4;

double real(std::int64_t value) { return static_cast<double>(value); }

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return std::max<std::int64_t>(0, end - begin); }
};

/// Keys of the item's blocks that row `row` sees.
Range visible(const PlanProblem& problem, const WorkItem& item, std::int64_t row) {
  const PlanSequence& sequence = problem.sequences[static_cast<std::size_t>(item.sequence)];
  const std::int64_t query = row / problem.group;
  return {std::max(first_visible(sequence.visible, query), item.block_begin * kKeyBlock),
          std::min(end_of_visible(sequence.visible, query), item.block_end * kKeyBlock)};
}

/// The cost of a key and its value before they are multiplied. The decode path reads both in place:
/// K is transposed on its way into the products.
double packing_of_key(const PlanProblem& problem, std::int64_t rows) {
  if (problem.storage == kernels::KeyStorage::packed_pages) return 0;
  const double head_dim = real(problem.head_dim), value_dim = real(problem.value_dim);
  if (rows <= problem.stream_rows) return kTransposeInRegisters * head_dim;
  return kTransposeOperations * head_dim + kCopyOperations * value_dim;
}

Cost item_cost(const PlanProblem& problem, const WorkItem& item) {
  double scores = 0, blocks = 0;
  const std::int64_t end = item.row_begin + item.rows;
  for (std::int64_t row = item.row_begin; row < end; ++row) {
    const Range keys = visible(problem, item, row);
    scores += real(keys.size());
    blocks += real((keys.size() + kKeyBlock - 1) / kKeyBlock);
  }
  const Range first = visible(problem, item, item.row_begin);
  const Range last = visible(problem, item, end - 1);
  const double keys = real(Range{first.begin, last.end}.size());
  const double head_dim = real(problem.head_dim), value_dim = real(problem.value_dim);
  const double heads = real(item.kv_heads);
  return {.products = heads * scores * (head_dim + value_dim),
          .softmax = heads * kSoftmaxOperations * scores,
          .packing = heads * (keys * packing_of_key(problem, item.rows) +
                              kScaleOperations * real(item.rows) * head_dim),
          .folding = heads * kFoldOperations * (blocks + 1) * value_dim};
}

}  // namespace

Cost& Cost::operator+=(const Cost& other) {
  products += other.products;
  softmax += other.softmax;
  packing += other.packing;
  folding += other.folding;
  return *this;
}

Cost Phase::sum() const {
  Cost total;
  for (const Cost& item : items) total += item;
  return total;
}

double Phase::largest_to_mean() const {
  double largest = 0;
  for (const Cost& item : items) largest = std::max(largest, item.total());
  return largest > 0 ? largest * static_cast<double>(items.size()) / sum().total() : 1.0;
}

std::vector<Phase> attention_phases(const PlanProblem& problem, const Plan& plan) {
  const bool shared = plan.shared;
  std::vector<Phase> phases{{.name = "attention", .items = {}, .shared = shared}};
  for (const WorkItem& item : plan.items) {
    phases[0].items.push_back(item_cost(problem, item));
  }
  if (plan.splits.empty()) return phases;
  phases.push_back({.name = "fold", .items = {}, .shared = shared});
  for (const KeySplit& split : plan.splits) {
    const double states = real(split.rows * (split.block_end - split.block_begin + 1));
    phases[1].items.push_back({.folding = kFoldOperations * states * real(problem.value_dim)});
  }
  return phases;
}

Phase linear_phase(const std::string& name, std::int64_t rows, std::int64_t in, std::int64_t out,
                   int threads) {
  const LinearPlan plan = plan_linear(rows, in, out, threads);
  Phase phase{.name = name, .items = {}, .shared = plan.shared};
  for (std::int64_t i = 0; i < plan.row_items * plan.column_items; ++i) {
    const std::int64_t row = i / plan.column_items * plan.item_rows;
    const std::int64_t column = i % plan.column_items * plan.item_panels * kPanel;
    const double item_rows = real(std::min(plan.item_rows, rows - row));
    const double columns = real(std::min(plan.item_panels * kPanel, out - column));
    const double depth_blocks = real((in + kernels::kDepthBlock - 1) / kernels::kDepthBlock);
    phase.items.push_back({.products = item_rows * columns * real(in),
                           .packing = kCopyOperations * item_rows * real(in),
                           .folding = kFoldOperations * depth_blocks * item_rows * columns});
  }
  return phase;
}

double makespan(const Phase& phase, int threads) {
  if (!phase.shared) threads = 1;
  std::priority_queue<double, std::vector<double>, std::greater<>> free_at;
  for (int t = 0; t < threads; ++t) free_at.push(0.0);
  double last = 0;
  for (const Cost& item : phase.items) {
    const double done = free_at.top() + item.total();
    free_at.pop();
    free_at.push(done);
    last = std::max(last, done);
  }
  return last;
}

double makespan(const std::vector<Phase>& phases, int threads) {
  double sum = 0;
  for (const Phase& phase : phases) sum += makespan(phase, threads);
  return sum;
}

}  // namespace rapt::tools
