// What the items of a plan cost on paper, and how long several threads need for them.
#pragma once

#include "attention/plan.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace rapt::tools {

/// The cost of an item in multiply-adds of one element: the unit in which the FMA peak of an ISA is
/// half its FLOP/s. Operations on vectors that are no multiply-adds count as if they took the place
/// of one, as they do where both share the ports (docs/notes/kernels_on_zen_4.md).
struct Cost {
  double products = 0;  ///< scores and weighted values, or the matrix product
  double softmax = 0;
  double packing = 0;  ///< Q, K and V, or rows of x, into the kernels' layouts
  double folding = 0;  ///< block results into outputs

  double total() const { return products + softmax + packing + folding; }
  Cost& operator+=(const Cost& other);
};

/// Items that may run at the same time; the next phase begins when all are done.
struct Phase {
  std::string name;
  std::vector<Cost> items;  ///< in the order of the plan
  bool shared = true;       ///< false: too little work to wake another thread

  Cost sum() const;
  /// The largest item divided by the mean; 1 for no items.
  double largest_to_mean() const;
};

/// The items of a planned call of attention, then the folds of those that were split over keys.
std::vector<Phase> attention_phases(const PlanProblem& problem, const Plan& plan);

/// The items of y[rows, out] = x[rows, in] W^T with `threads` threads.
Phase linear_phase(const std::string& name, std::int64_t rows, std::int64_t in, std::int64_t out,
                   int threads);

/// When the last of `threads` threads is done, each taking the next item when it is free: in
/// multiply-adds of one thread.
double makespan(const Phase& phase, int threads);

/// The same for phases after each other.
double makespan(const std::vector<Phase>& phases, int threads);

}  // namespace rapt::tools
