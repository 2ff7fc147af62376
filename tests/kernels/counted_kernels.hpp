// Kernels that count their calls: a table of ISAs for the test build, in place of isa_table.cpp.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "rapt/isa.hpp"

namespace rapt::test {

/// The kernels that drivers call.
inline constexpr std::array<std::string_view, 12> kKernelNames{
    "stream_rows",         "attend_scratch", "attend",       "fold",
    "sum_weights_scratch", "sum_weights",    "merge_states", "merge_results",
    "linear_scratch",      "linear",         "normalize",    "rotate"};

using KernelCounts = std::array<std::atomic<std::int64_t>, kKernelNames.size()>;

/// Calls so far of each kernel of an ISA.
KernelCounts& kernel_counts(Isa isa);

}  // namespace rapt::test
