// A random attention problem from a seed: any shape, layout and combination of options, and numbers
// at the ends of f32.
#pragma once

#include "support/problems.hpp"

#include <cstdint>

namespace rapt::test {

/// The problem of that seed, the same on every machine. Mostly small, so that a million of them can
/// be computed; some have lengths and dims up to 300, and one in 41 is decode-sized with up to 4700
/// keys.
Problem fuzz_problem(std::uint64_t seed);

/// The same kind of problem with nothing but ordinary numbers: normal ones, and the lowest float
/// and -inf where a bias hides keys.
Problem ordinary_problem(std::uint64_t seed);

}  // namespace rapt::test
