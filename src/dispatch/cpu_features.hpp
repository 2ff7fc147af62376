// What this CPU and its operating system can run: a predicate cpu_has_NAME() for each ISA of this
// build, which tests for the features that its compiler flags (src/kernels/meson.build) enable
// and for an operating system that saves their registers.
#pragma once

#include "kernels/isa_list.hpp"

namespace rapt::dispatch {

#define RAPT_DECLARE_PREDICATE(isa) bool cpu_has_##isa() noexcept;
RAPT_COMPILED_ISAS(RAPT_DECLARE_PREDICATE)
#undef RAPT_DECLARE_PREDICATE

}  // namespace rapt::dispatch
