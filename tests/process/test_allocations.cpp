// After the first calls nothing is allocated. A separate program: it replaces operator new to count
// every allocation of the library.
#include "core/aligned_buffer.hpp"
#include "process/allocation_hooks.hpp"
#include "rapt/attention.hpp"
#include "rapt/layer_norm.hpp"
#include "rapt/linear.hpp"
#include "rapt/multi_head_attention.hpp"
#include "rapt/ragged.hpp"
#include "support/check_every_isa.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace rapt::test {
namespace {

/// Allocations of a call after `calls` warm-up calls.
std::int64_t allocations_of(const std::function<void()>& call, int calls) {
  for (int i = 0; i < calls; ++i) call();
  const std::int64_t before = allocations;
  call();
  return allocations - before;
}

/// Inputs and outputs of a call of attention().
struct AttentionCall {
  AttentionCall(std::int64_t q_len, std::int64_t kv_len, const AttentionOptions& options_)
      : q(normal_floats(2 * 4 * q_len * 32, 1)),
        k(normal_floats(2 * 2 * kv_len * 32, 2)),
        v(normal_floats(2 * 2 * kv_len * 32, 3)),
        out(q.size()),
        lse(static_cast<std::size_t>(2 * 4 * q_len)),
        options(options_),
        queries(q_len),
        keys(kv_len) {
    options.lse = {lse.data(), {2, 4, q_len}};
  }

  void operator()() {
    attention({q.data(), {2, 4, queries, 32}}, {k.data(), {2, 2, keys, 32}},
              {v.data(), {2, 2, keys, 32}}, {out.data(), {2, 4, queries, 32}}, options);
  }

  std::vector<float> q, k, v, out, lse;
  AttentionOptions options;
  std::int64_t queries, keys;
};

MultiHeadAttention small_layer() {
  const std::vector<float> weight = normal_floats(64 * 64, 5);
  const auto projection = [&] {
    return Linear(TensorView<const float, 2>(weight.data(), {64, 64}));
  };
  return MultiHeadAttention({.model_dim = 64, .num_heads = 4},
                            {projection(), projection(), projection(), projection()});
}

/// Calls `check(name, call)` for every kind of call.
void for_calls(const std::function<void(const char*, const std::function<void()>&)>& check) {
  const std::vector<float> slopes(4, 0.5f), sinks(4, 1.0f);
  const std::vector<std::int64_t> kv_lens{300, 0};
  AttentionOptions everything;
  everything.mask = causal_bottom_right().windowed(100, 0);
  everything.soft_cap = 20.0f;
  everything.alibi_slopes = slopes;
  everything.sinks = sinks;
  everything.kv_lens = kv_lens;
  check("tiny", AttentionCall(5, 5, {}));
  check("prefill", AttentionCall(200, 300, {.mask = causal_bottom_right()}));
  check("decode", AttentionCall(1, 5000, {}));
  check("every option", AttentionCall(70, 300, everything));

  const std::vector<std::int64_t> rows{0, 1, 1, 90, 200}, key_rows{0, 700, 701, 800, 1000};
  const std::vector<float> packed = normal_floats(1000 * 2 * 32, 8);
  std::vector<float> ragged_out(200 * 4 * 32);
  check("ragged", [&] {
    attention({packed.data(), {200, 4, 32}}, {packed.data(), {1000, 2, 32}},
              {packed.data(), {1000, 2, 32}}, {ragged_out.data(), {200, 4, 32}},
              {.q = rows, .kv = key_rows}, {.mask = causal_bottom_right()});
  });

  const std::vector<float> x = normal_floats(150 * 520, 6);
  std::vector<float> y(150 * 300);
  const std::vector<float> weight = normal_floats(300 * 520, 7);
  const Linear linear(TensorView<const float, 2>(weight.data(), {300, 520}));
  check("linear", [&] { linear.forward({x.data(), {150, 520}}, {y.data(), {150, 300}}); });

  check("layer_norm to bf16", [&] {
    layer_norm(TensorView<const float, 2>(x.data(), {150, 520}),
               TensorView<void, 2>(y.data(), DType::bf16, {150, 520}));
  });

  const MultiHeadAttention layer = small_layer();
  check("multi-head attention", [&] {
    layer.forward(TensorView<const float, 3>(x.data(), {2, 100, 64}),
                  TensorView<float, 3>(y.data(), {2, 100, 64}), {.mask = causal()});
  });
}

}  // namespace

TEST_CASE("the counter counts allocations") {
  // Called by name: a compiler may omit a new-expression whose memory is never read.
  CHECK(allocations_of([] { ::operator delete(::operator new(100)); }, 1) == 1);
  CHECK(allocations_of([] { AlignedBuffer buffer(100); }, 1) >= 1);
}

TEST_CASE("repeating a call allocates nothing, on every ISA") {
  tbb::task_arena arena(1);
  arena.execute([] {
    for (const Isa isa : available_isas()) {
      const ForcedIsa forced(isa);
      for_calls([&](const char* name, const std::function<void()>& call) {
        CHECK_MESSAGE(allocations_of(call, 1) == 0, name, " on ", isa_name(isa));
      });
    }
  });
}

TEST_CASE("with several threads calls stop allocating once each thread has its buffers") {
  const tbb::global_control allow(tbb::global_control::max_allowed_parallelism, 4);
  tbb::task_arena arena(4);
  arena.execute([] {
    for_calls([](const char* name, const std::function<void()>& call) {
      // The participating threads vary from call to call: several calls in a row must allocate
      // nothing.
      constexpr int kFree = 20, kMax = 5000;
      int free_calls = 0;
      for (int i = 0; i < kMax && free_calls < kFree; ++i) {
        free_calls = allocations_of(call, 0) == 0 ? free_calls + 1 : 0;
      }
      CHECK_MESSAGE(free_calls == kFree, name);
    });
  });
}

}  // namespace rapt::test
