// Functions that the translation units of one ISA's archive share, or that its table (kernels.cpp)
// points to. Everything else in a unit is in an unnamed namespace, inlined at its use.
#pragma once

#include "kernels/abi/kernel_set.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {

/// attend/attend.cpp: runs an item by its route; folds the states of all blocks, left to right.
void attend(const AttendItem& item, float* memory);
void fold(const FoldArgs& args, float* memory);

/// attend/attend.cpp: recomputes row r of the item exactly. A row may come out NaN or Inf because
/// of 0 * NaN at a hidden key; that is so rare that the fast paths only test the result.
void attend_row_exactly(const AttendItem& item, std::int64_t r, float* memory);

/// attend/stream.cpp: runs an item on the decode path; the maximum rows of such an item.
void attend_stream(const AttendItem& item, float* memory);
std::int64_t stream_rows(const StreamShape& shape);

/// attend/stream.cpp: the kernels that stream rows of K and V, by themselves.
void score_key_rows(const KeyRowsArgs& args);
void add_value_rows(const ValueRowsArgs& args);

/// attend/weight_sums.cpp: sums the weights of the item's one block over all of its rows, for each
/// head of the group or for all heads together.
std::int64_t sum_weights_scratch(const WeightSumsArgs& args);
void sum_weights(const WeightSumsArgs& args, float* memory);

/// linear/linear.cpp
std::int64_t linear_scratch(const LinearArgs& args);
void linear(const LinearArgs& args);

}  // namespace rapt::kernels::RAPT_KERNEL_ISA
