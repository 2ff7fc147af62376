// A random problem, cut into sequences, with its keys in pages: in a cache, appended by
// detours, or in the caller's own pages.
#pragma once

#include "core/random.hpp"
#include "rapt/kv_cache.hpp"
#include "support/problems.hpp"
#include "support/ragged_problem.hpp"

namespace rapt::test {

/// Whether there are values to keep in pages.
bool can_be_paged(const Spec& spec);

/// Whether the queries of a problem that can be paged are the last tokens of their sequences, as
/// attention() over a cache has them; cross_attention() takes any.
bool can_be_cached(const Spec& spec, const Cuts& cuts);

/// attention() or cross_attention() over a cache.
using CacheFunction = void(TensorView<const float, 3>, const KvCache&, const CacheQueries&,
                           TensorView<float, 3>, const AttentionOptions&);

/// The keys appended to a cache in random steps, some after others that were taken back, or in a
/// fork. `random` decides, the same for the same state.
Outputs run_cached(CacheFunction& function, const Problem& problem, const Cuts& cuts,
                   Random random);

/// The keys in pages of any size and order, NaN between them.
Outputs run_paged(const Problem& problem, const Cuts& cuts, Random random);

}  // namespace rapt::test
