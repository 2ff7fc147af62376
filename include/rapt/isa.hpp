// Which instruction sets this build has, which of them this machine can run, and which one is used.
// The choice changes the speed, never the bits of a result.
//
// Nor does the tuning, which the first call reads from the file that the environment variable
// RAPT_TUNING names, or from the user's cache directory (docs/tuning.md). A wrong RAPT_TUNING is an
// Error of every call that computes: file_error, malformed_file, or invalid_argument for another
// machine's file.
#pragma once

#include "rapt/export.hpp"

#include <span>
#include <string_view>
#include <vector>

namespace rapt {

enum class Isa { scalar, neon, avx2, avx512 };

/// "scalar", "neon", "avx2" or "avx512".
RAPT_API std::string_view isa_name(Isa isa);

/// The ISA whose isa_name is `name`. Throws Error{unsupported_isa} for any other word.
RAPT_API Isa parse_isa(std::string_view name);

/// Every ISA compiled into this library, best first.
RAPT_API std::span<const Isa> compiled_isas();

/// Those of compiled_isas() that this CPU and its operating system can run, best first. Never
/// empty: `scalar` is always there.
RAPT_API std::vector<Isa> available_isas();

/// Whether `isa` is compiled in and can run here.
RAPT_API bool isa_available(Isa isa);

/// The ISA that calls use: the one forced by force_isa, else the one named by the environment
/// variable RAPT_ISA (empty counts as unset), else the best available. Throws
/// Error{unsupported_isa} when RAPT_ISA names one that is unknown or cannot run here: a wrong
/// setting is never a silent fallback or a SIGILL.
RAPT_API Isa active_isa();

/// Makes every later call in this process use `isa`. Throws Error{unsupported_isa} when it is not
/// available; the active ISA is then unchanged. Safe to call from any thread; calls already running
/// finish on the ISA that they started with.
RAPT_API void force_isa(Isa isa);

/// Undoes force_isa.
RAPT_API void reset_isa();

}  // namespace rapt
