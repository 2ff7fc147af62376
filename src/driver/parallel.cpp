#include "driver/parallel.hpp"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

namespace rapt {

int available_threads() { return tbb::this_task_arena::max_concurrency(); }

void for_items(std::int64_t items, bool shared, ItemFunction run) {
  if (!shared || items <= 1) {
    for (std::int64_t i = 0; i < items; ++i) run(i);
    return;
  }
  tbb::this_task_arena::isolate([&] {
    // Items are already as large as the plan wants them: no further grouping.
    tbb::parallel_for(
        tbb::blocked_range<std::int64_t>(0, items, 1),
        [&](const tbb::blocked_range<std::int64_t>& range) {
          for (std::int64_t i = range.begin(); i != range.end(); ++i) run(i);
        },
        tbb::simple_partitioner());
  });
}

void run_isolated(std::int64_t item, ItemFunction run) {
  tbb::this_task_arena::isolate([&] { run(item); });
}

}  // namespace rapt
