// What the program's own operator new and malloc tell and do: counting, and failing on demand.
#pragma once

#include <atomic>
#include <cstdint>

namespace rapt::test {

/// Calls of operator new so far.
extern std::atomic<std::int64_t> allocations;
/// Blocks of malloc and its kind, and with them of operator new, that were not freed yet.
extern std::atomic<std::int64_t> live_allocations;
/// Allocations that were made to fail so far.
extern std::atomic<std::int64_t> failed_allocations;

/// Makes the `n`-th allocation from now on fail, by malloc and its kind and so by operator new too,
/// and no other; 0: none.
void fail_allocation(std::int64_t n);

/// Makes the `n`-th one and all later ones fail, until fail_allocation(0).
void fail_allocations_from(std::int64_t n);

}  // namespace rapt::test
