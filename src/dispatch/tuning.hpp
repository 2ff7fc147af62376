// The tuning that calls use: numbers that change the speed and not a bit of a result.
#pragma once

#include "core/tuning.hpp"
#include "dispatch/tuning_source.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "rapt/isa.hpp"

namespace rapt::dispatch {

/// Of calls. After the first use one atomic load, as with tuned_kernels(). The first use reads the
/// tuning from its file and throws as read_tuning() does.
const tuning::CallTuning& call_tuning();

/// The kernels of a compiled ISA, with their tuning, whether or not they can run here.
const kernels::KernelSet& tuned_kernels(Isa isa);

/// Where the tuning in use comes from.
const TuningSource& tuning_source();

/// For `rapt tune` and tests: replace the tuning of all later calls. The first of these starts from
/// the defaults and reads no file. No call may run meanwhile.
void set_tuning(const tuning::CallTuning& call);
void set_tuning(Isa isa, const kernels::Tuning& kernels);
void set_default_tuning();
/// Undoes these: the tuning is again what the environment says, read at the next use.
void reset_tuning();

}  // namespace rapt::dispatch
