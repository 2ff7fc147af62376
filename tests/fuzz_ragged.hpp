// A random problem of one sequence as a ragged batch, or in a cache: its rows are cut into
// sequences.
#pragma once

#include <cstdint>
#include <vector>

#include "core/random.hpp"
#include "problems.hpp"

namespace rapt::test {

/// Row offsets of the sequences, as in RaggedRows.
struct Cuts {
  std::vector<std::int64_t> q, kv;
};

/// Whether the problem can be cut: what it asks for has no meaning per batch index.
bool can_be_ragged(const Spec& spec);

/// One to four sequences; rows may belong to none.
Cuts random_cuts(const Shape& shape, Random& random);

/// Whether the cut problem is one of a cache: its queries are the last tokens of their sequences.
bool can_be_cached(const Spec& spec, const Cuts& cuts);

/// The cut problem with its keys appended to a cache in random steps.
Outputs run_cached(const Problem& problem, const Cuts& cuts, Random& random);

/// The cut problem by the library, and by a call of the scalar statement for each sequence.
Outputs run_ragged(const Problem& problem, const Cuts& cuts);
Outputs run_ragged_statement(const Problem& problem, const Cuts& cuts);

}  // namespace rapt::test
