// The planning problem of a workload's shape, and its operations and bytes.
#pragma once

#include "attention/plan.hpp"
#include "measure/workload.hpp"

#include <span>
#include <vector>

namespace rapt::tools {

/// The sequences that attention() plans for the shape.
std::vector<PlanSequence> plan_sequences(const WorkShape& shape);

/// The planning problem of attention() for the kernels `set`; `sequences` are those above.
PlanProblem plan_problem(const WorkShape& shape, const kernels::KernelSet& set,
                         std::span<const PlanSequence> sequences);

/// Floating-point operations of the two products of attention. Half of them for causal attention,
/// as is usual; with a window, those of the visible keys.
double products_flops(const WorkShape& shape);

/// Rows of a bias or mask per head: the queries of one sequence, shared by the whole batch. Over a
/// cache the queries of all sequences are concatenated, and so are these rows; a single row is
/// broadcast.
std::int64_t element_rows(const WorkShape& shape);

/// Bytes of the bias and the mask that a call reads, each once, for the keys that the products
/// count.
double element_bytes(const WorkShape& shape);

}  // namespace rapt::tools
