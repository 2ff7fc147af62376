// One const object of each class, used by 64 threads at once, from tasks and from nested arenas,
// gives the bits of a single call.
#include "formats/file_bytes.hpp"
#include "layer/cached_layer_problem.hpp"
#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/arena.hpp"
#include "support/problems.hpp"
#include "support/temporary_directory.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kTokens = 7, kHeads = 8, kKvHeads = 2, kDim = 16, kValueDim = 20,
                       kModel = 40;

/// The objects, created once, and the tensors that their calls share.
struct Shared {
  Shared() {
    const std::int64_t sequence = cache.add();
    cache.append(sequence, keys(kDim), keys(kValueDim));
    layer.append_context({x.data(), {kTokens, kModel}}, context, {&context_sequence, 1}, rows);
  }

  TensorView<const float, 3> keys(std::int64_t dim) const {
    return {numbers.data(), {kTokens, kKvHeads, dim}};
  }

  const LayerProblem problem = cached_problem(3);
  const MultiHeadAttention layer = problem.layer();
  const Linear linear = problem.query.packed();
  const RopeTable rope{Rope::half, {.rotary_dims = kDim, .positions = 64}};
  const std::vector<float> x = tokens_of(1, kTokens*kModel), numbers = tokens_of(2, 4096);
  const std::vector<std::int64_t> rows{0, kTokens};
  const std::int64_t sequence = 0;
  const TemporaryDirectory directory;
  KvCache cache{cache_of(problem.config)}, context{cache_of(problem.config)};
  const std::int64_t context_sequence = context.add();
  const NpyFile npy{directory.write(
      "a.npy", npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (4096,), }",
                         bytes_of(numbers)))};
  const SafetensorsFile safetensors{directory.write(
      "a.safetensors",
      safetensors_bytes(R"({"t":{"dtype":"F32","shape":[4096],"data_offsets":[0,16384]}})",
                        bytes_of(numbers)))};
};

/// A call and its name. It writes all of `y`, which is first filled with a value that no result
/// has.
struct Call {
  std::string name;
  std::int64_t floats;
  std::function<void(std::vector<float>& y)> write;

  std::vector<float> result() const {
    std::vector<float> y(static_cast<std::size_t>(floats), -987.25f);
    write(y);
    return y;
  }
};

std::vector<Call> calls_of(const Shared& s) {
  const std::int64_t out = s.problem.output_features();
  const CacheQueries cached{.sequences = {&s.sequence, 1}, .rows = s.rows};
  const CacheQueries context{.sequences = {&s.context_sequence, 1}, .rows = s.rows};
  const TensorView<const float, 3> q(s.numbers.data(), {kTokens, kHeads, kDim});
  const auto results = [](std::vector<float>& y) {
    return TensorView<float, 3>(y.data(), {kTokens, kHeads, kValueDim});
  };
  const std::int64_t cached_floats = kTokens * kHeads * kValueDim;
  return {
      {"Linear", kTokens * s.linear.out_features(),
       [&s](auto& y) {
         s.linear.forward({s.x.data(), {kTokens, kModel}},
                          {y.data(), {kTokens, s.linear.out_features()}});
       }},
      {"MultiHeadAttention", kTokens * out,
       [&s, out](auto& y) {
         s.layer.forward({s.x.data(), {1, kTokens, kModel}}, {y.data(), {1, kTokens, out}},
                         {.mask = causal()});
       }},
      {"MultiHeadAttention over a context", kTokens * out,
       [&s, out, context](auto& y) {
         s.layer.cross_forward({s.x.data(), {kTokens, kModel}}, s.context, context,
                               {y.data(), {kTokens, out}});
       }},
      {"KvCache", cached_floats,
       [&s, q, cached, results](auto& y) { attention(q, s.cache, cached, results(y)); }},
      {"KvCache, any queries", cached_floats,
       [&s, q, cached, results](auto& y) { cross_attention(q, s.cache, cached, results(y)); }},
      {"RopeTable", kTokens * kDim,
       [&s](auto& y) {
         apply_rope({s.numbers.data(), {1, 1, kTokens, kDim}}, {y.data(), {1, 1, kTokens, kDim}},
                    s.rope.view(), 3);
       }},
      {"NpyFile", 4096, [&s](auto& y) { y = s.npy.tensor().copy_as_float(); }},
      {"SafetensorsFile", 4096, [&s](auto& y) { y = s.safetensors.at("t").copy_as_float(); }},
  };
}

}  // namespace

TEST_CASE("1000 calls on each of 64 threads have the bits of a single call") {
  const Shared shared;
  const int calls = quick() ? 200 : 1000;
  for (const Call& call : calls_of(shared)) {
    CAPTURE(call.name);
    const std::vector<float> want = call.result();
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 64; ++t) {
      threads.emplace_back([&] {
        for (int n = 0; n < calls; ++n) wrong += same_bits(call.result(), want) ? 0 : 1;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
  }
}

TEST_CASE("calls from tasks and from nested arenas have the bits of a single call") {
  const Shared shared;
  const int tasks = quick() ? 16 : 200;
  for (const Call& call : calls_of(shared)) {
    CAPTURE(call.name);
    const std::vector<float> want = call.result();
    std::atomic<int> wrong{0};
    const auto check = [&] { wrong += same_bits(call.result(), want) ? 0 : 1; };
    in_arena(4, [&] {
      tbb::parallel_for(0, tasks, [&](int n) {
        check();
        tbb::task_arena inner(1 + n % 3);
        inner.execute([&] {
          check();
          tbb::parallel_for(0, 2, [&](int) { tbb::task_arena(2).execute(check); });
        });
        tbb::this_task_arena::isolate(check);
      });
    });
    CHECK(wrong == 0);
  }
}

}  // namespace rapt::test
