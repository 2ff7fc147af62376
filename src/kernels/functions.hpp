// What the translation units of one ISA's archive call in each other, and what the table
// (kernels.cpp) takes from them. All else in a unit is in an unnamed namespace, inlined where it is
// used.
#pragma once

#include "kernels/abi/kernel_set.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {

/// attend/attend.cpp: an item by its route, and the states of all blocks folded, left to right.
void attend(const AttendItem& item, float* memory);
void fold(const FoldArgs& args, float* memory);

/// attend/attend.cpp: row r of the item again, exactly. A row that came out NaN or Inf may owe it
/// to 0 * NaN at a key that it cannot see; so rare that the fast paths only look at the result.
void attend_row_exactly(const AttendItem& item, std::int64_t r, float* memory);

/// attend/stream.cpp: an item on the stream route, and the most rows that one may have.
void attend_stream(const AttendItem& item, float* memory);
std::int64_t stream_rows(KeyStorage storage, std::int64_t head_dim, std::int64_t value_dim);

/// attend/stream.cpp: the kernels that stream rows of K and V, by themselves.
void score_key_rows(const KeyRowsArgs& args);
void add_value_rows(const ValueRowsArgs& args);

/// attend/weight_sums.cpp: the sums of the keys of the item's one block over all of its rows, of
/// each head of the group or of all of them.
std::int64_t sum_weights_scratch(const WeightSumsArgs& args);
void sum_weights(const WeightSumsArgs& args, float* memory);

/// linear/linear.cpp
std::int64_t linear_scratch(const LinearArgs& args);
void linear(const LinearArgs& args);

}  // namespace rapt::kernels::RAPT_KERNEL_ISA
