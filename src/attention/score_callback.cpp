#include "attention/score_callback.hpp"

#include "core/views.hpp"
#include "parallel/parallel.hpp"

namespace rapt {
namespace {

constinit thread_local bool inside_callback = false;

/// Marks this thread for the life of the object.
struct InsideCallback {
  InsideCallback() { inside_callback = true; }
  ~InsideCallback() { inside_callback = false; }
  InsideCallback(const InsideCallback&) = delete;
  InsideCallback& operator=(const InsideCallback&) = delete;
};

ScoreTile public_tile(const kernels::CallbackTile& tile) {
  return {.scores = tile.scores,
          .row_stride = tile.row_stride,
          .rows = tile.rows,
          .columns = tile.columns,
          .first_query = tile.first_query,
          .first_position = tile.first_position,
          .first_key = tile.first_key,
          .head = tile.head,
          .batch = tile.batch};
}

}  // namespace

void CallbackOfCall::on_tile(const void* self, const kernels::CallbackTile& tile) {
  const CallbackOfCall& call = *static_cast<const CallbackOfCall*>(self);
  if (call.failed()) return;
  try {
    const InsideCallback inside;
    // While the callback waits for its own tasks, this thread must not start another item of the
    // call.
    run_isolated(0, [&](std::int64_t) { call.callback_(public_tile(tile)); });
  } catch (...) {
    if (!call.failed_.exchange(true)) call.error_ = std::current_exception();
  }
}

void refuse_inside_callback() {
  if (inside_callback) core::fail("score_callback: calls attention itself");
}

}  // namespace rapt
