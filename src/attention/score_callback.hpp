// Isolates kernels from the caller's score callback: no exception passes through a kernel, and no
// attention() runs inside another one's callback.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "rapt/score_callback.hpp"

#include <atomic>
#include <exception>

namespace rapt {

/// The callback of one call of attention().
class CallbackOfCall {
 public:
  explicit CallbackOfCall(const ScoreCallback& callback) : callback_(callback) {}
  CallbackOfCall(const CallbackOfCall&) = delete;
  CallbackOfCall& operator=(const CallbackOfCall&) = delete;

  /// AttendCall::callback, with this object as its context.
  static void on_tile(const void* self, const kernels::CallbackTile& tile);

  /// Whether the callback threw: the rest of the call is then skipped.
  bool failed() const { return failed_.load(std::memory_order_relaxed); }
  /// Rethrows the callback's first exception, once every item has ended.
  void rethrow() const {
    if (failed()) std::rethrow_exception(error_);
  }

 private:
  const ScoreCallback& callback_;
  mutable std::atomic<bool> failed_{false};
  mutable std::exception_ptr error_;
};

/// Throws Error{invalid_argument} when this thread is inside a score callback: the thread's
/// workspace belongs to the outer call.
void refuse_inside_callback();

}  // namespace rapt
