// From the environment to a tuning: which file is read, and what is legal in it.
#pragma once

#include "core/tuning.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "kernels/isa_list.hpp"
#include "rapt/isa.hpp"

#include <array>
#include <cstddef>
#include <string>

namespace rapt::dispatch {

/// Where the tuning comes from.
struct TuningSource {
  std::string path;     ///< of the file; "": the defaults
  std::string ignored;  ///< why the file of the user's cache directory is not used; or ""
};

#define RAPT_NAMED(isa) Isa::isa,
inline constexpr std::array kKnownIsas{RAPT_KNOWN_ISAS(RAPT_NAMED)};
#undef RAPT_NAMED

/// All kernels and calls with their tuning.
struct TunedKernels {
  std::array<kernels::KernelSet, kKnownIsas.size()> of_isa{};  ///< by Isa; no name: not compiled in
  tuning::CallTuning call;

  kernels::KernelSet& of(Isa isa) { return of_isa[static_cast<std::size_t>(isa)]; }
  const kernels::KernelSet& of(Isa isa) const { return of_isa[static_cast<std::size_t>(isa)]; }
};

/// Reads the file that RAPT_TUNING names; without that variable the one in the user's cache
/// directory, if there is one. Nothing is read if RAPT_TUNING is empty or "off". Throws
/// Error{file_error}, {malformed_file} or, for the file of another machine, {invalid_argument} for
/// a file that RAPT_TUNING names, with RAPT_TUNING and the path; a file of the cache directory is
/// ignored then. `tuned` changes only if everything in the file is right.
TuningSource read_tuning(TunedKernels& tuned);

/// The path of the file in the user's cache directory; "" if the environment names none.
std::string user_tuning_path();

}  // namespace rapt::dispatch
