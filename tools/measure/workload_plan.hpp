// What a workload's shape asks of the plan, and its products.
#pragma once

#include "attention/plan.hpp"
#include "measure/workload.hpp"

#include <span>
#include <vector>

namespace rapt::tools {

/// The sequences that attention() plans for the shape.
std::vector<PlanSequence> plan_sequences(const WorkShape& shape);

/// The problem that it plans for the kernels `set`; `sequences` are those above.
PlanProblem plan_problem(const WorkShape& shape, const kernels::KernelSet& set,
                         std::span<const PlanSequence> sequences);

/// Floating-point operations of the two products of attention. Causal counts half of them, as is
/// usual; with a window it is the keys that each query sees.
double products_flops(const WorkShape& shape);

/// Rows of a bias or mask for each head: a sequence's queries, for the whole batch alike. A cache
/// takes the queries of all sequences side by side, and their rows with them; a single row is
/// broadcast.
std::int64_t element_rows(const WorkShape& shape);

/// Bytes of the bias and the mask that a call reads, each once; of what the products count.
double element_bytes(const WorkShape& shape);

}  // namespace rapt::tools
