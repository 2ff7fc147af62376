// The check at the end of most tests of attention(): the bits of the scalar statement on every ISA.
#pragma once

#include "rapt/attention.hpp"
#include "rapt/isa.hpp"
#include "reference/scalar.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>

namespace rapt::test {

/// Runs the problem on every ISA and compares all outputs with the scalar statement's.
inline void check_every_isa(const Problem& problem) {
  const Outputs want = run(reference::attention, problem);
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    const bool same = same_bits(run(attention, problem), want);
    CHECK_MESSAGE(same, isa_name(isa), ": ", describe(problem.spec));
  }
}

inline void check_every_isa(const Spec& spec) { check_every_isa(Problem(spec)); }

}  // namespace rapt::test
