// The program's own operator new and malloc: counting allocations, and failing on demand.
#pragma once

#include <atomic>
#include <cstdint>

namespace rapt::test {

/// Calls of operator new so far.
extern std::atomic<std::int64_t> allocations;
/// Blocks from malloc and its relatives, and thus from operator new, that were not freed yet.
extern std::atomic<std::int64_t> live_allocations;
/// Allocations that failed on demand so far.
extern std::atomic<std::int64_t> failed_allocations;

/// Makes only the `n`-th allocation from now on fail, by malloc and its relatives and thus by
/// operator new; 0: none.
void fail_allocation(std::int64_t n);

/// Makes the `n`-th allocation and all later ones fail, until fail_allocation(0).
void fail_allocations_from(std::int64_t n);

}  // namespace rapt::test
