#include "process/ordinary_calls.hpp"

#include "cache/cache_problem.hpp"
#include "core/random.hpp"
#include "fuzz/fuzz_problem.hpp"
#include "layer/cached_layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/paged_problem.hpp"
#include "support/problems.hpp"
#include "support/ragged_problem.hpp"
#include "support/test_level.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace rapt::test {
namespace {

/// One problem through every entry point that accepts it.
void visit_problem(const Problem& problem, std::uint64_t seed, const VisitCall& visit) {
  const Spec& spec = problem.spec;
  visit(describe(spec), [&] { run(attention, problem); });
  if (!can_be_ragged(spec)) return;
  Random random(seed);
  const Cuts cuts = seed % 2 == 0 ? random_cuts(spec, random) : random_forks(spec, random);
  if (!cuts.from_start) visit("ragged " + describe(spec), [&] { run_ragged(problem, cuts); });
  if (!can_be_paged(spec)) return;
  visit("paged " + describe(spec), [&] { run_paged(problem, cuts, random); });
  visit("crossed " + describe(spec), [&] { run_cached(cross_attention, problem, cuts, random); });
  if (!can_be_cached(spec, cuts)) return;
  visit("cached " + describe(spec), [&] { run_cached(attention, problem, cuts, random); });
}

void visit_random_problems(const VisitCall& visit) {
  const std::uint64_t count = quick() ? 60 : 500;
  for (std::uint64_t seed = 1; seed <= count; ++seed) {
    visit_problem(ordinary_problem(seed), seed, visit);
  }
}

/// Options from the bits of a number, so that consecutive numbers differ.
void choose_options(std::uint64_t n, Spec& spec) {
  const auto chosen = [n](std::uint64_t of, std::uint64_t which) { return n % of == which; };
  spec.lse = n % 2 == 0;
  if (chosen(5, 1)) spec.mask = causal(spec.shape.kv_len - spec.shape.q_len);
  if (chosen(5, 2)) spec.mask = causal(-2);
  if (chosen(5, 3)) spec.mask = Mask{.query_offset = 3}.windowed(40, 2);
  if (chosen(7, 2)) spec.alibi_slope = 0.25f;
  if (chosen(7, 3)) spec.soft_cap = 0.25f;
  if (chosen(11, 5)) spec.sink = 0.5f;
  if (chosen(11, 6)) spec.bias = true;
  if (chosen(11, 7)) spec.bool_mask = MaskMeaning::drop;
  if (chosen(11, 8)) spec.weights = true;
  if (chosen(11, 9)) spec.weight_sums = WeightSums::per_head;
  if (chosen(13, 4)) spec.state_out = true;
  if (chosen(13, 5)) spec.state_in = true;
  if (chosen(13, 6)) spec.softmax_scale = 4.0f;  // weights far below the smallest
}

/// Every number of rows against every number of keys, with dims and options in rotation.
void visit_shapes(const VisitCall& visit) {
  const std::vector<std::int64_t> rows{1, 2, 5, 6, 7, 8, 9, 12, 13, 16, 17, 97, 193, 300};
  const std::vector<std::int64_t> keys{1,  2,  3,  4,  5,  6,  7,   8,   9,   11,  12,
                                       13, 15, 16, 17, 31, 33, 255, 256, 257, 300, 513};
  const std::vector<std::pair<std::int64_t, std::int64_t>> dims{
      {1, 1}, {7, 9}, {16, 16}, {17, 33}, {32, 32}, {64, 64}, {24, 96}, {8, 40}};
  std::uint64_t n = 0;
  for (const std::int64_t q_len : rows) {
    for (const std::int64_t kv_len : keys) {
      n += 1;
      if (quick() && (n % 7 != 0 || q_len * kv_len > 40'000)) continue;
      Spec spec;
      const auto [head_dim, value_dim] = dims[n % dims.size()];
      spec.shape = {.heads = n % 3 == 0 ? 4 : 2,
                    .kv_heads = 2,
                    .q_len = q_len,
                    .kv_len = kv_len,
                    .head_dim = head_dim,
                    .value_dim = value_dim};
      spec.layout = n % 4 == 1 ? Layout::bshd : Layout::bhsd;
      spec.seed = n;
      choose_options(n, spec);
      visit_problem(Problem(spec), n, visit);
    }
  }
}

/// Long rows of keys that are split over threads, also with adjacent heads, and keys hidden by a
/// callback that returns the lowest float.
void visit_long_rows(const VisitCall& visit) {
  for (const std::int64_t q_len : {1, 2, 3, 9}) {
    Spec spec;
    spec.layout = q_len <= 2 ? Layout::bshd : Layout::bhsd;
    spec.shape = {.heads = 4, .kv_heads = 2, .q_len = q_len, .kv_len = 5000, .head_dim = 64};
    spec.shape.value_dim = q_len == 3 ? 17 : 64;
    spec.lse = true;
    visit_problem(Problem(spec), 1, visit);
    Problem problem(spec);
    problem.options.score_callback = [](const ScoreTile& tile) {
      for (std::int64_t r = 0; r < tile.rows; ++r) {
        for (std::int64_t c = 0; c < tile.columns; ++c) {
          if ((tile.first_key + c) % 3 != 0) continue;
          tile.scores[r * tile.row_stride + c] = std::numeric_limits<float>::lowest();
        }
      }
    };
    visit("lowest scores, " + describe(spec), [&] { run(attention, problem); });
  }
}

void visit_merges(const VisitCall& visit) {
  for (const std::int64_t value_dim : {1, 7, 8, 16, 17, 33}) {
    Spec spec;
    spec.shape = {.heads = 2, .q_len = 17, .kv_len = 40, .value_dim = value_dim};
    spec.lse = spec.state_out = spec.bias = true;
    Problem problem(spec);
    Outputs x = run(attention, problem);
    spec.mask = causal(-3);  // rows without keys
    Outputs y = run(attention, Problem(spec));
    for (const bool swapped : {false, true}) {
      visit("merge, value_dim " + std::to_string(value_dim), [&] {
        Outputs to(spec);
        merge(swapped ? y.state : x.state, swapped ? x.state : y.state, to.state);
        merge(AttentionResult<const float>{x.out, x.lse},
              AttentionResult<const float>{y.out, y.lse}, AttentionResult<float>{to.out, to.lse});
        merge(y.state, y.state, to.state);
      });
    }
    for (float& lse : x.lse_storage) lse = std::numeric_limits<float>::lowest();
    visit("merge of saturated results", [&] {
      Outputs to(spec);
      merge(AttentionResult<const float>{x.out, x.lse}, AttentionResult<const float>{y.out, y.lse},
            AttentionResult<float>{to.out, to.lse});
    });
  }
}

void visit_linear(const VisitCall& visit) {
  for (const std::int64_t rows : {1, 2, 3, 5, 7, 12, 13, 17, 97}) {
    for (const std::int64_t out : {1, 7, 16, 17, 31, 33, 65, 300}) {
      for (const std::int64_t in : {1, 15, 17, 512, 513, 1030}) {
        if (quick() && (rows + out + in) % 5 != 0) continue;
        const Projection p = make_projection(1, in, out, (rows + out) % 2 == 0);
        const std::vector<float> x = tokens_of(2, rows * in);
        visit("linear " + std::to_string(rows) + " x " + std::to_string(in) + " x " +
                  std::to_string(out),
              [&] {
                std::vector<float> y = nans(rows * out);
                p.packed().forward({x.data(), {rows, in}}, {y.data(), {rows, out}});
              });
      }
    }
  }
}

void visit_rows(const VisitCall& visit) {
  for (std::int64_t width = 2; width <= (quick() ? 20 : 70); ++width) {
    const std::vector<float> x = tokens_of(3, 3 * width), weight = tokens_of(4, width);
    std::vector<float> y = nans(3 * width);
    visit("rms_norm and apply_rope of width " + std::to_string(width), [&] {
      const TensorView<const float, 4> from(x.data(), {1, 1, 3, width});
      const TensorView<float, 4> to(y.data(), {1, 1, 3, width});
      rms_norm(from, to, weight);
      for (const Rope style : {Rope::half, Rope::interleaved}) {
        const RopeTable table(style, {.rotary_dims = width / 2 * 2, .positions = 4});
        apply_rope(from, to, table, 1);
      }
    });
  }
  for (std::int64_t width = 1; width <= (quick() ? 20 : 70); ++width) {
    const TensorView<const float, 2>::Index shape{3, width};
    std::vector<float> x = tokens_of(3, 3 * width), masked = x, y = nans(3 * width);
    std::fill_n(x.begin(), width, 1e10f);  // a deviation of 0
    for (std::int64_t d = 1; d < width; d += 2) {
      masked[static_cast<std::size_t>(d)] = d % 4 == 1 ? std::numeric_limits<float>::lowest()
                                                       : -std::numeric_limits<float>::infinity();
    }
    visit("layer_norm and softmax of width " + std::to_string(width), [&] {
      layer_norm({x.data(), shape}, {y.data(), shape});
      softmax({masked.data(), shape}, {y.data(), shape});
    });
    visit("softmax and rms_norm between types, of width " + std::to_string(width), [&] {
      for (const DType type : {DType::bf16, DType::f16}) {
        const TensorView<void, 2> halves(y.data(), type, shape);
        softmax(TensorView<const float, 2>(masked.data(), shape), halves);
        rms_norm(halves, halves);
      }
    });
  }
  using Kind = RopeScaling::Kind;
  for (const Kind kind : {Kind::linear, Kind::ntk, Kind::yarn, Kind::llama3}) {
    const bool long_texts = kind == Kind::yarn || kind == Kind::llama3;
    visit("a table of angles", [&] {
      const RopeTable table(
          Rope::half,
          {.rotary_dims = 64,
           .positions = 300,
           .scaling = {.kind = kind, .factor = 8.0, .original_positions = long_texts ? 4096 : 0}});
    });
  }
  visit("t5_bias", [&] {
    const std::vector<float> table = tokens_of(5, 32 * 2);
    std::vector<float> by_distance = nans(2 * 600);
    for (const bool bidirectional : {false, true}) {
      t5_bias({table.data(), {32, 2}}, {.bidirectional = bidirectional}, 300,
              {by_distance.data(), {2, 600}});
    }
  });
}

void visit_layers(const VisitCall& visit) {
  const LayerProblem p = cached_problem(7);
  for (const std::int64_t tokens : {1, 2, 13, 70, 300}) {
    const std::vector<float> x = tokens_of(8, tokens * p.config.model_dim);
    visit("layer, tokens " + std::to_string(tokens),
          [&] { run_self(p, x, 1, {.mask = causal()}); });
    visit("layer over a cache, tokens " + std::to_string(tokens), [&] {
      KvCache cache(cache_of(p.config));
      LayerStream stream(p, tokens, 9);
      feed(p.layer(), cache, cache.add(), stream, 0, tokens, 64, {});
    });
  }
}

}  // namespace

void visit_ordinary_calls(const VisitCall& visit) {
  visit_random_problems(visit);
  visit_shapes(visit);
  visit_long_rows(visit);
  visit_merges(visit);
  visit_linear(visit);
  visit_rows(visit);
  visit_layers(visit);
}

}  // namespace rapt::test
