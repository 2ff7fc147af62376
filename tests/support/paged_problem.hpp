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
using CacheFunction = void(TensorView<const void, 3>, const KvCache&, const CacheQueries&,
                           TensorView<void, 3>, const AttentionOptions&);

/// Whether attention normalises or rotates the keys, which a cache has in that form.
bool changes_keys(const Spec& spec);

/// Keys appended to a cache in random steps, some after a roll-back or in a fork. `random`
/// determines the steps. as_bytes: to a cache of bytes; otherwise to one of the tensors' type.
Outputs run_cached(CacheFunction& function, const Problem& problem, const Cuts& cuts, Random random,
                   bool as_bytes = false);

/// Keys in pages of any size and order, with NaN between them.
Outputs run_paged(const Problem& problem, const Cuts& cuts, Random random);

}  // namespace rapt::test
