#include "parallel/parallel.hpp"

#include "core/default_arithmetic.hpp"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

#include <atomic>
#include <exception>
#include <sys/types.h>
#include <unistd.h>

namespace rapt {

namespace {

/// The exception of the first item that throws; the remaining items are skipped. Not left to
/// oneTBB, which terminates the process if it has no memory to store one.
class FirstException {
 public:
  template <class Run>
  void run_guarded(const Run& run) {
    if (thrown_.load(std::memory_order_relaxed)) return;
    try {
      run();
    } catch (...) {
      if (!thrown_.exchange(true)) exception_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (thrown_.load(std::memory_order_relaxed)) std::rethrow_exception(exception_);
  }

 private:
  std::atomic<bool> thrown_{false};
  std::exception_ptr exception_;
};

/// Whether this process is a fork() of the process that first ran items in parallel: oneTBB's
/// workers do not exist in it, and locks that they held stay locked.
bool workers_are_gone() {
  static std::atomic<pid_t> owner{0};
  const pid_t self = getpid();
  pid_t found = owner.load(std::memory_order_relaxed);
  if (found == 0 && owner.compare_exchange_strong(found, self)) return false;
  return found != self;
}

void share_items(std::int64_t items, ItemFunction run, std::int64_t grain) {
  FirstException first;
  tbb::this_task_arena::isolate([&] {
    if (available_threads() == 1) {
      for (std::int64_t i = 0; i < items; ++i) run(i);
      return;
    }
    tbb::parallel_for(
        tbb::blocked_range<std::int64_t>(0, items, static_cast<std::size_t>(grain)),
        [&](const tbb::blocked_range<std::int64_t>& range) {
          const core::DefaultArithmetic mode;  // of this thread, which may be a worker
          for (std::int64_t i = range.begin(); i != range.end(); ++i) {
            first.run_guarded([&] { run(i); });
          }
        },
        tbb::simple_partitioner());
  });
  first.rethrow();
}

}  // namespace

int available_threads() { return tbb::this_task_arena::max_concurrency(); }

void for_items(std::int64_t items, bool shared, ItemFunction run, std::int64_t grain) {
  if (shared && items > 1 && !workers_are_gone()) return share_items(items, run, grain);
  for (std::int64_t i = 0; i < items; ++i) run(i);
}

void run_isolated(std::int64_t item, ItemFunction run) {
  tbb::this_task_arena::isolate([&] { run(item); });
}

}  // namespace rapt
