// The theoretical cost of a plan's items, and the time that several threads need for them.
#pragma once

#include "attention/plan.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace rapt::tools {

/// The cost of an item in multiply-adds of one element; an ISA's FMA peak in this unit is half its
/// FLOP/s. Vector operations other than multiply-adds count as one each, as they do if both share
/// ports (docs/notes/kernels_on_zen_4.md).
struct Cost {
  double products = 0;  ///< scores and weighted values, or the matrix product
  double softmax = 0;
  double packing = 0;  ///< Q, K and V, or rows of x, into the kernels' layouts
  double folding = 0;  ///< block results into outputs

  double total() const { return products + softmax + packing + folding; }
  Cost& operator+=(const Cost& other);
};

/// Items that may run at the same time; the next phase starts when all are done.
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

/// The time until the last of `threads` threads finishes, each taking the next item when it is
/// free, in multiply-adds of one thread.
double makespan(const Phase& phase, int threads);

/// The total time of consecutive phases.
double makespan(const std::vector<Phase>& phases, int threads);

}  // namespace rapt::tools
