// Running work items in parallel: the only place that uses oneTBB.
#pragma once

#include <cstdint>
#include <type_traits>

namespace rapt {

/// A reference to a callable void(int64), so that no std::function is built per call.
class ItemFunction {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, ItemFunction>)
      ItemFunction(const F& f)  // NOLINT(google-explicit-constructor): a view of the argument
      : object_(&f),
        call_([](const void* object, std::int64_t i) { (*static_cast<const F*>(object))(i); }) {}
  void operator()(std::int64_t i) const { call_(object_, i); }

 private:
  const void* object_;
  void (*call_)(const void*, std::int64_t);
};

/// The threads that parallel_for can use: the concurrency of the caller's current task arena.
int available_threads();

/// Calls run(i) for i in [0, items): when `shared`, in any order and in parallel in the caller's
/// task arena; else, without a second thread, and in a child of fork(), in ascending order on this
/// one, which spares oneTBB's task of each item (64 x 12 items of 16 x 16, Zen 5, AVX-512: 0.90 of
/// the time). While a thread waits in here it takes no other task, so that nothing overwrites its
/// per-thread memory. An exception of an item reaches the caller. A task is up to `grain` adjacent
/// items.
void for_items(std::int64_t items, bool shared, ItemFunction run, std::int64_t grain = 1);

/// Calls run(item) so that this thread, while it waits for tasks started by run, takes no others.
void run_isolated(std::int64_t item, ItemFunction run);

}  // namespace rapt
