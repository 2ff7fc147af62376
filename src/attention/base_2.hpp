// The base-2 domain: scores, caps, slopes and sinks are multiplied by log2(e) before exp2 takes
// over from exp.
#pragma once

#include "kernels/abi/arithmetic.hpp"

namespace rapt {

/// x * log2(e), computed in double and rounded once.
inline float to_base_2(double x) { return static_cast<float>(x * kernels::kLog2E); }

}  // namespace rapt
