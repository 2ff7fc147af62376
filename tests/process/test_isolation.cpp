// A thread inside an item takes no unrelated work, which would overwrite the thread's memory of the
// waiting call.
#include "parallel/parallel.hpp"
#include "support/arena.hpp"

#include <doctest/doctest.h>
#include <tbb/task_group.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace rapt::test {
namespace {

/// Waits on this thread for a task elsewhere, until `taken` or for far longer than this thread
/// would need to take a pending task.
void wait_for_a_task_elsewhere(const std::atomic<bool>& taken) {
  tbb::task_group group;
  tbb::task_handle elsewhere = group.defer([] {});
  std::thread ends([&] {
    for (int n = 0; n < 50 && !taken; ++n)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    elsewhere = {};
  });
  group.wait();
  ends.join();
}

}  // namespace

TEST_CASE("a thread that waits inside an item takes no task from before the call") {
  in_arena(1, [] {
    std::atomic<bool> taken{false};
    bool inside = false, taken_inside = false;
    tbb::task_group before;
    before.run([&] {
      taken_inside = inside;
      taken = true;
    });
    for_items(2, true, [&](std::int64_t) {
      inside = true;
      wait_for_a_task_elsewhere(taken);
      inside = false;
    });
    before.wait();
    CHECK(taken);
    CHECK(!taken_inside);
  });
}

TEST_CASE("a thread that waits inside a callback takes no other item of its call") {
  in_arena(1, [] {
    std::atomic<bool> taken{false};
    bool inside = false, taken_inside = false;
    int items = 0;
    for_items(2, true, [&](std::int64_t item) {
      ++items;
      if (inside) taken_inside = true;
      taken = inside;
      if (inside) return;
      inside = true;
      run_isolated(item, [&](std::int64_t) { wait_for_a_task_elsewhere(taken); });
      inside = false;
    });
    CHECK(items == 2);
    CHECK(!taken_inside);
  });
}

}  // namespace rapt::test
