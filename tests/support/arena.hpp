// Runs code in a task arena of a given size.
#pragma once

#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <cstddef>

namespace rapt::test {

/// Calls `compute` in an arena of `threads` threads, which may exceed the machine's.
template <class Compute>
auto in_arena(int threads, Compute compute) {
  const tbb::global_control allow(tbb::global_control::max_allowed_parallelism,
                                  static_cast<std::size_t>(std::max(threads, 2)));
  tbb::task_arena arena(threads);
  return arena.execute(compute);
}

}  // namespace rapt::test
