// The kernels that calls use. A caller gets them once per call and never depends on their ISA.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "rapt/isa.hpp"

namespace rapt::dispatch {

/// The kernels of active_isa(), with their tuning. After the first use two atomic loads. Throws
/// Error{unsupported_isa} as active_isa() does.
const kernels::KernelSet& active_kernels();

/// The kernels of one ISA. Throws Error{unsupported_isa} when it is not available here, so what is
/// returned can be called.
const kernels::KernelSet& kernels_of(Isa isa);

}  // namespace rapt::dispatch
