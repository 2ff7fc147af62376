// A token has the same bits in other batches, layouts, thread counts and tasks.
#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace rapt::test {
namespace {

/// Allows arenas of 8 threads on any machine.
tbb::global_control eight_threads() { return {tbb::global_control::max_allowed_parallelism, 8}; }

TEST_CASE("a sequence in a batch has the bits that it has alone") {
  const std::int64_t batch = 4, tokens = 19;
  const LayerProblem p = make_layer(71, config_of(24, 4, 2, 6, 10));
  const std::vector<float> x = tokens_of(72, batch * tokens * 24);
  const std::vector<float> together = run_self(p, x, batch);
  std::vector<float> alone;
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto begin = x.begin() + b * tokens * 24;
    const std::vector<float> y = run_self(p, {begin, begin + tokens * 24}, 1);
    alone.insert(alone.end(), y.begin(), y.end());
  }
  CHECK(same_bits(together, alone));
}

TEST_CASE("tokens padded on the right with NaN change nothing") {
  const std::int64_t tokens = 23, length = 9;
  const LayerProblem p = make_layer(81, config_of(24, 4, 2, 6, 10));
  std::vector<float> x = tokens_of(82, 2 * tokens * 24);
  const auto second = x.begin() + tokens * 24;
  const std::vector<float> alone = run_self(p, {second, second + length * 24}, 1);
  std::fill(second + length * 24, x.end(), kNaN);
  const std::vector<std::int64_t> kv_lens{tokens, length};
  AttentionOptions options;
  options.kv_lens = kv_lens;
  const std::vector<float> y = run_self(p, x, 2, options);
  const auto row = y.begin() + tokens * 24;
  CHECK(same_bits({row, row + length * 24}, alone));
}

TEST_CASE("any strides of x and y give the same bits, and nothing between rows is written") {
  const std::int64_t batch = 3, tokens = 7, in = 24, row = 40;
  for (const bool has_output : {true, false}) {
    CAPTURE(has_output);
    const LayerProblem p =
        make_layer(91, config_of(in, 4, 2, 6, 6), {.bias = true, .output = has_output});
    const std::vector<float> x = tokens_of(92, batch * tokens * in);
    const std::vector<float> expected = run_self(p, x, batch);
    // Tokens before sequences, with a gap after every row; first in ascending, then in descending
    // order of time.
    for (const std::int64_t step : {batch * row, -batch * row}) {
      const std::int64_t first = step < 0 ? -(tokens - 1) * step : 0;
      std::vector<float> wide_x = nans(batch * tokens * row), wide_y = wide_x, wanted = wide_x;
      const TensorView<float, 3> x_view(wide_x.data() + first, {batch, tokens, in}, {row, step, 1});
      const TensorView<float, 3> y_view(wide_y.data() + first, {batch, tokens, in}, {row, step, 1});
      const TensorView<float, 3> want_view(wanted.data() + first, {batch, tokens, in},
                                           {row, step, 1});
      const TensorView<const float, 3> dense_x(x.data(), {batch, tokens, in});
      const TensorView<const float, 3> dense_y(expected.data(), {batch, tokens, in});
      for (std::int64_t b = 0; b < batch; ++b) {
        for (std::int64_t t = 0; t < tokens; ++t) {
          for (std::int64_t d = 0; d < in; ++d) {
            x_view(b, t, d) = dense_x(b, t, d);
            want_view(b, t, d) = dense_y(b, t, d);
          }
        }
      }
      p.layer().forward(x_view, y_view);
      CHECK(same_bits(wide_y, wanted));
    }
  }
}

TEST_CASE("one token of each of several longer sequences is a view, not a copy") {
  const std::int64_t batch = 3, tokens = 5, last = tokens - 1;
  const LayerProblem p = make_layer(95, config_of(16, 2, 2, 8, 8));
  const std::vector<float> x = tokens_of(96, batch * tokens * 16);
  const TensorView<const float, 3> all(x.data(), {batch, tokens, 16});
  std::vector<float> y = nans(batch * tokens * 16), queries;
  for (std::int64_t b = 0; b < batch; ++b) {
    queries.insert(queries.end(), &all(b, last, 0), &all(b, last, 0) + 16);
  }
  const TensorView<float, 3> y_view(y.data(), {batch, tokens, 16});
  p.layer().forward(all.sliced(1, last, 1), all, y_view.sliced(1, last, 1));
  const std::vector<float> expected = reference_layer(p, queries, x, batch);
  for (std::int64_t b = 0; b < batch; ++b) {
    const std::vector<float> row(&y_view(b, last, 0), &y_view(b, last, 0) + 16);
    CHECK(same_bits(row, {expected.begin() + b * 16, expected.begin() + (b + 1) * 16}));
  }
}

TEST_CASE("one thread and several threads give the same bits") {
  const std::int64_t batch = 3, tokens = quick() ? 40 : 130;
  const LayerProblem p = make_layer(101, config_of(64, 4, 2, 16, 16));
  const std::vector<float> x = tokens_of(102, batch * tokens * 64);
  const tbb::global_control allowed = eight_threads();
  std::vector<float> serial;
  tbb::task_arena(1).execute([&] { serial = run_self(p, x, batch); });
  for (const int threads : {2, 3, 8}) {
    CAPTURE(threads);
    std::vector<float> parallel;
    tbb::task_arena(threads).execute([&] { parallel = run_self(p, x, batch); });
    CHECK(same_bits(parallel, serial));
  }
}

TEST_CASE("many tasks may use one layer at once") {
  const std::int64_t batch = 2, tokens = 34;
  const LayerProblem p = make_layer(111, config_of(32, 4, 4, 8, 8));
  const MultiHeadAttention layer = p.layer();
  const std::vector<float> x = tokens_of(112, batch * tokens * 32);
  const std::vector<float> expected = run_self(p, x, batch);
  const tbb::global_control allowed = eight_threads();
  std::atomic<int> wrong = 0;
  tbb::task_arena(8).execute([&] {
    tbb::parallel_for(0, quick() ? 16 : 100, [&](int) {
      std::vector<float> y = nans(batch * tokens * 32);
      layer.forward({x.data(), {batch, tokens, 32}}, {y.data(), {batch, tokens, 32}});
      if (!same_bits(y, expected)) ++wrong;
    });
  });
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace rapt::test
