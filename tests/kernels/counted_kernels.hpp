// Kernels that count their calls: a table of ISAs for this test, in place of isa_table.cpp.
#pragma once

#include "rapt/isa.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rapt::test {

/// The kernels that the library calls.
inline constexpr std::array<std::string_view, 17> kKernelNames{
    "stream_rows", "attend_scratch", "attend",        "fold",           "sum_weights_scratch",
    "sum_weights", "merge_states",   "merge_results", "linear_scratch", "linear",
    "pack_keys",   "pack_values",    "pack_weight",   "normalize",      "rotate",
    "layer_norm",  "softmax_rows"};

using KernelCounts = std::array<std::atomic<std::int64_t>, kKernelNames.size()>;

/// Calls so far of each kernel of an ISA.
KernelCounts& kernel_counts(Isa isa);

}  // namespace rapt::test
