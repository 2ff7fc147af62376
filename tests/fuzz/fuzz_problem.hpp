// A random attention problem from a seed: any shape, layout and combination of options, and numbers
// at the limits of f32.
#pragma once

#include "support/problems.hpp"

#include <cstdint>

namespace rapt::test {

/// The problem of that seed, the same on every machine. Mostly small, so that a million of them can
/// be computed; some have lengths and dims up to 300, and one in 41 is decode-sized with up to 4700
/// keys.
Problem fuzz_problem(std::uint64_t seed);

/// A problem of the same kind with ordinary numbers only: normal ones, and the lowest float and
/// -inf for keys that a bias hides.
Problem ordinary_problem(std::uint64_t seed);

}  // namespace rapt::test
