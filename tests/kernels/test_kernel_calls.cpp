// Every function of the API runs on the kernels of the requested ISA and of no other.
#include "kernels/counted_kernels.hpp"
#include "layer/cached_layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/arena.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kTokens = 40, kHeads = 4, kDim = 16;

/// A call, and the kernels that it must reach.
struct EntryPoint {
  std::string name;
  std::vector<std::string_view> kernels;
  std::function<void()> call;
};

std::vector<float> numbers(std::int64_t count) {
  return normal_floats(static_cast<std::size_t>(count), 1);
}

void attend_spec(const std::function<void(Spec&)>& change) {
  Spec spec;
  spec.shape = {.heads = kHeads, .kv_heads = 2, .q_len = kTokens, .kv_len = 300};
  change(spec);
  run(attention, Problem(spec));
}

void merge_parts() {
  const std::vector<float> x = numbers(kTokens * kDim), m(kTokens, 0.0f), l(kTokens, 1.0f);
  std::vector<float> y(x.size()), ym(m), yl(l);
  const AttentionState<const float> part({m.data(), {1, 1, kTokens}}, {l.data(), {1, 1, kTokens}},
                                         {x.data(), {1, 1, kTokens, kDim}});
  merge(part, part,
        AttentionState<float>({ym.data(), {1, 1, kTokens}}, {yl.data(), {1, 1, kTokens}},
                              {y.data(), {1, 1, kTokens, kDim}}));
  const AttentionResult<const float> result{part.o, part.m};
  merge(result, result,
        AttentionResult<float>{{y.data(), {1, 1, kTokens, kDim}}, {ym.data(), {1, 1, kTokens}}});
}

void turn_rows() {
  const std::vector<float> x = numbers(kTokens * kDim);
  std::vector<float> y(x.size());
  const RopeTable table(Rope::half, {.rotary_dims = kDim, .positions = kTokens});
  apply_rope({x.data(), {1, 1, kTokens, kDim}}, {y.data(), {1, 1, kTokens, kDim}}, table.view());
}

/// Calls rms_norm() or its like.
template <class Function>
void map_rows(const Function& function) {
  const std::vector<float> x = numbers(kTokens * kDim);
  std::vector<float> y(x.size());
  function(TensorView<const float, 2>(x.data(), {kTokens, kDim}),
           TensorView<float, 2>(y.data(), {kTokens, kDim}));
}

void attend_pages() {
  const std::vector<float> x = numbers(kTokens * kDim);
  std::vector<float> y(x.size());
  const std::vector<std::int32_t> pages{0, 1};
  const std::vector<std::int64_t> lengths{kTokens}, rows{0, kTokens};
  const TensorView<const float, 4> keys(x.data(), {2, kTokens / 2, 1, kDim});
  attention({x.data(), {kTokens, 1, kDim}},
            {.k = keys,
             .v = keys,
             .table = TensorView<const std::int32_t, 2>(pages.data(), {1, 2}),
             .kv_lens = lengths},
            rows, {y.data(), {kTokens, 1, kDim}});
}

void attend_through_layer() {
  const LayerProblem problem = cached_problem(5);
  const MultiHeadAttention layer = problem.layer();
  KvCache cache(cache_of(problem.config));
  const std::int64_t sequence = cache.add();
  const std::vector<std::int64_t> rows{0, kTokens};
  const std::vector<float> x = tokens_of(7, kTokens * problem.config.model_dim);
  std::vector<float> y = nans(kTokens * problem.output_features());
  layer.forward({x.data(), {kTokens, problem.config.model_dim}}, cache,
                {.sequences = {&sequence, 1}, .rows = rows},
                {y.data(), {kTokens, problem.output_features()}});
}

std::vector<EntryPoint> entry_points() {
  return {
      {"attention", {"attend", "attend_scratch", "stream_rows"}, [] { attend_spec([](Spec&) {}); }},
      {"attention, one row whose keys are shared",
       {"attend", "fold"},
       [] {
         in_arena(4,
                  [] { attend_spec([](Spec& s) { s.shape.q_len = 1, s.shape.kv_len = 20'000; }); });
       }},
      {"attention with sums of weights",
       {"attend", "sum_weights", "sum_weights_scratch"},
       [] { attend_spec([](Spec& s) { s.weight_sums = WeightSums::per_head; }); }},
      {"attention over the caller's pages", {"attend"}, attend_pages},
      {"a layer over a cache",
       {"linear", "linear_scratch", "pack_weight", "pack_keys", "pack_values", "attend",
        "normalize", "rotate"},
       attend_through_layer},
      {"merge", {"merge_states", "merge_results"}, merge_parts},
      {"apply_rope", {"rotate"}, turn_rows},
      {"rms_norm", {"normalize"}, [] { map_rows([](auto x, auto y) { rms_norm(x, y); }); }},
      {"layer_norm", {"layer_norm"}, [] { map_rows([](auto x, auto y) { layer_norm(x, y); }); }},
      {"softmax", {"softmax_rows"}, [] { map_rows([](auto x, auto y) { softmax(x, y); }); }},
  };
}

void reset_counts() {
  for (const Isa isa : compiled_isas()) {
    for (auto& count : kernel_counts(isa)) count = 0;
  }
}

/// Makes the call and checks that its kernels ran on `isa`, and none on another ISA.
void check_ran_on(Isa isa, const EntryPoint& entry_point) {
  CAPTURE(isa_name(isa));
  CAPTURE(entry_point.name);
  reset_counts();
  entry_point.call();
  for (const Isa other : compiled_isas()) {
    for (std::size_t k = 0; k < kKernelNames.size(); ++k) {
      const std::string_view kernel = kKernelNames[k];
      CAPTURE(isa_name(other));
      CAPTURE(kernel);
      if (other != isa) CHECK(kernel_counts(other)[k] == 0);
      if (other == isa && std::ranges::count(entry_point.kernels, kernel) > 0) {
        CHECK(kernel_counts(isa)[k] > 0);
      }
    }
  }
}

}  // namespace

TEST_CASE("every call runs only on the kernels of the forced ISA") {
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    for (const EntryPoint& entry_point : entry_points()) check_ran_on(isa, entry_point);
  }
}

TEST_CASE("every call runs on the ISA in RAPT_ISA, or on the best one without it") {
  const char* const before = std::getenv("RAPT_ISA");
  const std::string kept = before != nullptr ? before : "";
  for (const Isa isa : available_isas()) {
    setenv("RAPT_ISA", std::string(isa_name(isa)).c_str(), 1);
    reset_isa();
    check_ran_on(isa, entry_points().front());
  }
  unsetenv("RAPT_ISA");
  reset_isa();
  check_ran_on(available_isas().front(), entry_points().front());
  if (before != nullptr) setenv("RAPT_ISA", kept.c_str(), 1);
  reset_isa();
}

TEST_CASE("these calls reach every kernel that the library calls") {
  for (const std::string_view kernel : kKernelNames) {
    CAPTURE(kernel);
    const std::vector<EntryPoint> all = entry_points();
    CHECK(std::ranges::any_of(all, [&](const EntryPoint& entry_point) {
      return std::ranges::count(entry_point.kernels, kernel) > 0;
    }));
  }
}

}  // namespace rapt::test
