// The score callback: which tiles it gets, that tile borders change no bit, and that its exceptions
// propagate.
#include "rapt/attention.hpp"
#include "rapt/error.hpp"
#include "rapt/multi_head_attention.hpp"
#include "support/arena.hpp"
#include "support/check_every_isa.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>
#include <tbb/parallel_for.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace rapt::test {
namespace {

Spec grouped_spec() {
  Spec spec;
  spec.shape = {.batch = 2,
                .heads = 6,
                .kv_heads = 2,
                .q_len = quick() ? 50 : 90,
                .kv_len = quick() ? 300 : 600,
                .head_dim = 20,
                .value_dim = 9};
  spec.lse = true;
  spec.weights = true;
  return spec;
}

/// One row of two heads against a long cache: split by keys.
Spec decode_spec() {
  Spec spec;
  spec.shape = {.heads = 2, .kv_len = 5000, .head_dim = 64, .value_dim = 64};
  spec.lse = true;
  return spec;
}

Outputs run_with(const Problem& problem, const ScoreCallback& callback) {
  Outputs outputs(problem.spec);
  AttentionOptions options = problem.options;
  options.lse = outputs.lse;
  options.weights = outputs.weights;
  options.score_callback = callback;
  attention(problem.q, problem.k, problem.v, outputs.out, options);
  return outputs;
}

void leave_alone(const ScoreTile&) {}

}  // namespace

TEST_CASE("a score callback gets every visible score, and no tile that no query sees") {
  Spec spec = grouped_spec();
  spec.mask = causal(130).windowed(100, 0);
  const Problem problem(spec);
  const Shape& s = spec.shape;
  const auto visible = [](std::int64_t i, std::int64_t j) { return j <= i + 130 && j >= i + 30; };
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    std::vector<int> seen(static_cast<std::size_t>(s.batch * s.heads * s.q_len * s.kv_len));
    std::mutex mutex;
    int wrong = 0, idle = 0;
    const auto look = [&](const ScoreTile& tile) {
      const std::lock_guard lock(mutex);
      int useful = 0;
      for (std::int64_t r = 0; r < tile.rows; ++r) {
        const std::int64_t i = tile.first_query + r;
        wrong += tile.first_position + r != i + 130 ? 1 : 0;
        for (std::int64_t c = 0; c < tile.columns; ++c) {
          const std::int64_t j = tile.first_key + c;
          const float score = tile.scores[r * tile.row_stride + c];
          if (!visible(i, j)) {
            wrong += score != -std::numeric_limits<float>::infinity() ? 1 : 0;
            continue;
          }
          ++useful;
          const std::int64_t row = (tile.batch * s.heads + tile.head) * s.q_len + i;
          ++seen[static_cast<std::size_t>(row * s.kv_len + j)];
          double dot = 0.0;
          for (std::int64_t d = 0; d < s.head_dim; ++d) {
            dot += double{problem.q(tile.batch, tile.head, i, d)} *
                   double{problem.k(tile.batch, tile.head / (s.heads / s.kv_heads), j, d)};
          }
          wrong += std::abs(dot / std::sqrt(20.0) - double{score}) > 1e-4 ? 1 : 0;
        }
      }
      idle += useful == 0 ? 1 : 0;
    };
    run_with(problem, look);
    CHECK(wrong == 0);
    CHECK(idle == 0);
    std::int64_t missing = 0;
    for (std::size_t n = 0; n < seen.size(); ++n) {
      const auto j = static_cast<std::int64_t>(n) % s.kv_len;
      const auto i = static_cast<std::int64_t>(n) / s.kv_len % s.q_len;
      missing += visible(i, j) != (seen[n] > 0) ? 1 : 0;
    }
    CHECK(missing == 0);
  }
}

TEST_CASE("the tile sizes of a score callback change no bit") {
  for (const Callback callback : {Callback::bend, Callback::hide, Callback::poison}) {
    for (Spec spec : {grouped_spec(), decode_spec()}) {
      spec.callback = callback;
      spec.mask = causal_bottom_right();
      const Problem problem(spec);
      const Outputs want = run(reference::attention, problem);
      for (const Isa isa : available_isas()) {
        const ForcedIsa forced(isa);
        for (const int threads : {1, 2, 7}) {
          const Outputs got = in_arena(threads, [&] { return run(attention, problem); });
          CHECK_MESSAGE(same_bits(got, want), isa_name(isa), " with ", threads,
                        " threads: ", describe(spec));
        }
      }
    }
  }
}

TEST_CASE("a key hidden by a score callback has the effect of one hidden by a boolean mask") {
  Spec spec = grouped_spec();
  spec.callback = Callback::hide;
  const Problem hidden(spec);
  spec.callback = Callback::none;
  spec.bool_mask = MaskMeaning::drop;
  Problem masked(spec);
  const auto [batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim] = spec.shape;
  for (std::size_t n = 0; n + 1 < masked.mask_storage.size(); ++n) {
    const auto at = static_cast<std::int64_t>(n);
    const std::int64_t j = at % kv_len, i = at / kv_len % q_len;
    const std::int64_t h = at / (kv_len * q_len) % heads, b = at / (kv_len * q_len * heads);
    masked.mask_storage[n] = (7 * j + 3 * i + h + 2 * b) % 5 == 0 ? 1 : 0;
  }
  // A function, and a callable that lives only during the call: both leave the scores to the same
  // two conversions as the hiding callback.
  CHECK(same_bits(run(attention, hidden), run_with(masked, leave_alone)));
  CHECK(same_bits(run(attention, hidden), run_with(masked, [](ScoreTile) {})));
}

TEST_CASE("an exception of a score callback reaches the caller, and the next call is complete") {
  for (const Spec& spec : {grouped_spec(), decode_spec()}) {
    const Problem problem(spec);
    const Outputs want = run_with(problem, leave_alone);
    for (const Isa isa : available_isas()) {
      CAPTURE(isa_name(isa));
      const ForcedIsa forced(isa);
      for (const int threads : {1, 2, 7}) {
        for (const int good_tiles : {0, 1, 5}) {
          std::atomic<int> tiles{0};
          const auto fail_late = [&](const ScoreTile&) {
            if (++tiles > good_tiles) throw std::runtime_error("no more tiles");
          };
          in_arena(threads, [&] {
            CHECK_THROWS_WITH_AS(run_with(problem, fail_late), "no more tiles", std::runtime_error);
          });
          // At most the tiles that other threads had already started.
          CHECK(tiles <= good_tiles + threads);
          CHECK(same_bits(run_with(problem, leave_alone), want));
        }
      }
      const auto fail_without_exception_type = [](const ScoreTile&) { throw 42; };
      CHECK_THROWS_AS(run_with(problem, fail_without_exception_type), int);
      const auto no_memory = [](const ScoreTile&) { throw std::bad_alloc(); };
      CHECK_THROWS_AS(run_with(problem, no_memory), std::bad_alloc);
    }
  }
}

TEST_CASE("a score callback may wait for tasks of its own") {
  Spec spec = grouped_spec();
  spec.callback = Callback::bend;
  const Problem problem(spec);
  const Outputs want = run(attention, problem);
  const auto in_tasks = [&](const ScoreTile& tile) {
    tbb::parallel_for(std::int64_t{0}, tile.rows, [&](std::int64_t r) {
      ScoreTile row = tile;
      row.scores += r * tile.row_stride;
      row.rows = 1;
      row.first_query += r;
      row.first_position += r;
      problem.options.score_callback(row);
    });
  };
  for (const int threads : {1, 2, 7}) {
    in_arena(threads, [&] { CHECK(same_bits(run_with(problem, in_tasks), want)); });
  }
}

TEST_CASE("a score callback that calls attention is an error") {
  const Problem problem(grouped_spec());
  const auto again = [&](const ScoreTile&) { run(attention, problem); };
  CHECK_THROWS_WITH_AS(run_with(problem, again), "score_callback: calls attention itself", Error);

  const std::vector<float> identity{1.0f}, x{1.0f, 2.0f};
  const Linear one(TensorView<const float, 2>(identity.data(), {1, 1}));
  const MultiHeadAttention layer({.model_dim = 1, .num_heads = 1},
                                 {.query = one, .key = one, .value = one, .output = one});
  std::vector<float> y(2);
  const auto forward = [&](const AttentionOptions& options) {
    layer.forward({x.data(), {1, 2, 1}}, {y.data(), {1, 2, 1}}, options);
  };
  const auto layer_again = [&](const ScoreTile&) { forward({}); };
  CHECK_THROWS_WITH_AS(forward({.score_callback = layer_again}),
                       "score_callback: calls attention itself", Error);
  forward({});
}

}  // namespace rapt::test
