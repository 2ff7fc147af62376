// What the program's own operator new tells and does: counting, and failing on demand.
#pragma once

#include <atomic>
#include <cstdint>

namespace rapt::test {

/// Calls of operator new so far, and how many of them were not deleted yet.
extern std::atomic<std::int64_t> allocations;
extern std::atomic<std::int64_t> live_allocations;

/// Makes the `n`-th allocation from now on fail, and no other; 0 or less: none.
void fail_allocation(std::int64_t n);

}  // namespace rapt::test
