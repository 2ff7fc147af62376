// A random problem, cut into sequences, with its keys in pages: in a cache, appended with forks and
// roll-backs, or in the caller's own pages.
#pragma once

#include "core/random.hpp"
#include "rapt/kv_cache.hpp"
#include "support/problems.hpp"
#include "support/ragged_problem.hpp"

namespace rapt::test {

/// Whether the problem has values that pages can store.
bool can_be_paged(const Spec& spec);

/// Whether the queries of such a problem are the last tokens of their sequences, as attention()
/// over a cache requires; cross_attention() accepts any.
bool can_be_cached(const Spec& spec, const Cuts& cuts);

/// attention() or cross_attention() over a cache.
using CacheFunction = void(TensorView<const float, 3>, const KvCache&, const CacheQueries&,
                           TensorView<float, 3>, const AttentionOptions&);

/// Keys appended to a cache in random steps, some after a roll-back or in a fork. `random`
/// determines the steps.
Outputs run_cached(CacheFunction& function, const Problem& problem, const Cuts& cuts,
                   Random random);

/// Keys in pages of any size and order, with NaN between them.
Outputs run_paged(const Problem& problem, const Cuts& cuts, Random random);

}  // namespace rapt::test
