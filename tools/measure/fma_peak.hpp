// The peak rate of fused multiply-adds of one ISA on this machine.
#pragma once

#include "rapt/isa.hpp"

#include <cstdint>

namespace rapt::tools {

/// Runs `iterations` steps of kernels::kFmaChains independent chains of FMAs, each as wide as the
/// vectors of `isa`, on the calling thread. Returns the number of floating-point operations, two
/// per element. `isa` must be available.
double run_fma_chains(Isa isa, std::int64_t iterations);

}  // namespace rapt::tools
