// The state (m, l, o): continuing from it equals one call, and merging two is within the bound.
#include "rapt/attention.hpp"
#include "reference/naive64.hpp"
#include "support/arena.hpp"
#include "support/bounds.hpp"
#include "support/check_every_isa.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

Spec state_spec() {
  Spec spec;
  spec.shape = {.batch = 2,
                .heads = 4,
                .kv_heads = 2,
                .q_len = quick() ? 5 : 23,
                .kv_len = 700,
                .head_dim = 12,
                .value_dim = 19};
  spec.lse = true;
  spec.weights = true;
  spec.weight_sums = WeightSums::per_kv_head;
  spec.state_out = true;
  return spec;
}

template <class T>
TensorView<T, 4> keys_of(const TensorView<T, 4>& view, std::int64_t first, std::int64_t count) {
  return view.data == nullptr || view.shape[3] == 1 ? view : view.sliced(3, first, count);
}

/// Computes keys [first, first + count) of the problem, starting from `earlier`, into `outputs`.
void run_part(const Problem& problem, std::int64_t first, std::int64_t count,
              const AttentionState<const float>& earlier, bool last, const Outputs& outputs) {
  AttentionOptions options = problem.options;
  write_to(outputs, options);
  options.weights = keys_of(options.weights, first, count);
  options.weight_sums = options.weight_sums.sliced(2, first, count);
  options.bias = keys_of(options.bias, first, count);
  options.bool_mask.values = keys_of(options.bool_mask.values, first, count);
  options.mask.query_offset -= first;
  options.state_in = earlier;
  if (!last) options.sinks = {};
  std::vector<std::int64_t> kv_lens(problem.kv_lens);
  for (std::int64_t& length : kv_lens) length = std::clamp(length - first, std::int64_t{0}, count);
  if (!options.kv_lens.empty()) options.kv_lens = kv_lens;
  attention(problem.q, problem.k.sliced(2, first, count), problem.v.sliced(2, first, count),
            outputs.out, options);
}

/// All keys in parts that start at `borders`.
Outputs run_in_parts(const Problem& problem, std::vector<std::int64_t> borders) {
  borders.push_back(problem.spec.shape.kv_len);
  AttentionState<const float> earlier;
  std::vector<Outputs> parts;
  parts.reserve(borders.size());
  for (std::size_t n = 0; n + 1 < borders.size(); ++n) {
    parts.emplace_back(problem.spec);
    const bool last = n + 2 == borders.size();
    run_part(problem, borders[n], borders[n + 1] - borders[n], earlier, last, parts.back());
    earlier = parts.back().state;
  }
  return std::move(parts.back());
}

}  // namespace

TEST_CASE("results with a saturated lse merge as values, and any other result outweighs them") {
  constexpr float kLowest = std::numeric_limits<float>::lowest();
  constexpr std::int64_t kDim = 3;
  const auto merged = [](float x_lse, float y_lse) {
    const std::vector<float> x(kDim, 1.0f), y(kDim, 3.0f);
    std::vector<float> out(kDim, -1.0f), lse(1, -1.0f);
    merge(AttentionResult<const float>{{x.data(), {1, 1, 1, kDim}}, {&x_lse, {1, 1, 1}}},
          AttentionResult<const float>{{y.data(), {1, 1, 1, kDim}}, {&y_lse, {1, 1, 1}}},
          AttentionResult<float>{{out.data(), {1, 1, 1, kDim}}, {lse.data(), {1, 1, 1}}});
    out.push_back(lse[0]);
    return out;
  };
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    CHECK(merged(kLowest, kLowest) == std::vector<float>{2.0f, 2.0f, 2.0f, kLowest});
    CHECK(merged(kLowest, 0.0f) == std::vector<float>{3.0f, 3.0f, 3.0f, 0.0f});
    CHECK(merged(0.0f, kLowest) == std::vector<float>{1.0f, 1.0f, 1.0f, 0.0f});
  }
}

TEST_CASE("the maximum in a state ignores NaN scores at any key") {
  for (const std::int64_t q_len : {1, 5, 40}) {
    for (const std::int64_t place : {0, 3, 17, 40, 255, 299}) {
      Spec spec;
      spec.shape = {.q_len = q_len, .kv_len = 300, .head_dim = 16, .value_dim = 16};
      spec.state_out = true;
      spec.lse = true;
      for (const bool mask : {false, true}) {
        if (mask) spec.bool_mask = MaskMeaning::keep;
        Problem problem(spec);
        problem.k(0, 0, place, 3) = kNaN;
        const Outputs want = run(reference::attention, problem);
        for (const Isa isa : available_isas()) {
          const ForcedIsa forced(isa);
          CHECK_MESSAGE(same_bits(run(attention, problem), want), isa_name(isa), ": q_len ", q_len,
                        " NaN at ", place, " mask ", mask);
        }
      }
    }
  }
}

TEST_CASE("continuing from a state at a key block boundary gives the bits of one call") {
  std::vector<Spec> specs(5, state_spec());
  specs[0].mask = causal(690);
  specs[1].mask = Mask{.query_offset = 300}.windowed(400, 200);
  specs[1].alibi_slope = 0.01f;
  specs[2].bias = true;
  specs[2].bool_mask = MaskMeaning::keep;
  specs[2].sink = 0.5f;
  specs[3].kv_lens = true;
  specs[3].soft_cap = 9.0f;
  specs[3].callback = Callback::none;
  specs[4].shape.q_len = 1;
  for (Spec& spec : specs) {
    const Problem problem(spec);
    for (const Isa isa : available_isas()) {
      const ForcedIsa forced(isa);
      for (const int threads : {1, 5}) {
        in_arena(threads, [&] {
          const Outputs whole = run(attention, problem);
          for (const std::vector<std::int64_t>& borders :
               {std::vector<std::int64_t>{0, 256}, {0, 512}, {0, 256, 512}, {0, 0, 256, 256}}) {
            const Outputs got = run_in_parts(problem, borders);
            CAPTURE(isa_name(isa));
            CAPTURE(describe(spec));
            CHECK(same_bits(got.out_storage, whole.out_storage));
            CHECK(same_bits(got.lse_storage, whole.lse_storage));
            CHECK(same_bits(got.state_storage.m, whole.state_storage.m));
            CHECK(same_bits(got.state_storage.l, whole.state_storage.l));
            CHECK(same_bits(got.state_storage.o, whole.state_storage.o));
            for (std::int64_t j = borders.back(); j < spec.shape.kv_len; ++j) {
              CHECK(got.weights(1, 3, 0, j) == whole.weights(1, 3, 0, j));
              CHECK(got.weight_sums(1, 1, j) == whole.weight_sums(1, 1, j));
            }
          }
        });
      }
    }
  }
}

TEST_CASE("a merge of states or results is within the bound of attention") {
  Spec spec = state_spec();
  spec.mask = causal(200);
  const Problem problem(spec);
  const reference::Attention64 want =
      reference::attention64(problem.q, problem.k, problem.v, problem.options);
  for (const std::int64_t border : {0, 100, 256, 699}) {
    Outputs x(spec), y(spec);
    run_part(problem, 0, border, {}, true, x);
    run_part(problem, border, spec.shape.kv_len - border, {}, true, y);
    Outputs merged(spec), joined(spec);
    merge(x.state, y.state, merged.state);
    attention(problem.q, problem.k.sliced(2, 0, 0), problem.v.sliced(2, 0, 0), merged.out,
              {.lse = merged.lse, .state_in = merged.state});
    merge(AttentionResult<const float>{x.out, x.lse}, AttentionResult<const float>{y.out, y.lse},
          AttentionResult<float>{joined.out, joined.lse});
    std::size_t row = 0, at = 0;
    for (std::int64_t b = 0; b < 2; ++b) {
      for (std::int64_t h = 0; h < 4; ++h) {
        for (std::int64_t i = 0; i < spec.shape.q_len; ++i, ++row) {
          const double s = want.score_sum[row], lse = want.lse[row];
          CHECK(std::abs(double{merged.lse(b, h, i)} - lse) <= lse_bound(s, lse));
          CHECK(std::abs(double{joined.lse(b, h, i)} - lse) <= 2.0 * lse_bound(s, lse));
          for (std::int64_t d = 0; d < spec.shape.value_dim; ++d, ++at) {
            const double bound = out_bound(s, want.value_sum[at]);
            CHECK(std::abs(double{merged.out(b, h, i, d)} - want.out[at]) <= bound);
            CHECK(std::abs(double{joined.out(b, h, i, d)} - want.out[at]) <= bound);
          }
        }
      }
    }
  }
}

TEST_CASE("merge has the bits of the scalar statement on every ISA, in place too") {
  for (const Layout layout : {Layout::bhsd, Layout::bshd, Layout::padded}) {
    Spec spec = state_spec();
    spec.layout = layout;
    spec.state_in = true;
    spec.shape.kv_len = 300;
    Problem problem(spec);
    const Outputs x = run(attention, problem);
    spec.seed = 2;
    spec.mask = causal(-2);  // rows without keys
    Problem other(spec);
    other.v(0, 0, 0, 0) = kNaN;
    other.k(1, 1, 0, 0) = kNaN;
    const Outputs y = run(attention, other);
    const AttentionResult<const float> x_result{x.out, x.lse}, y_result{y.out, y.lse};
    Outputs want(spec);
    reference::merge(x.state, y.state, want.state);
    reference::merge(x_result, y_result, {want.out, want.lse});
    for (const Isa isa : available_isas()) {
      CAPTURE(isa_name(isa));
      const ForcedIsa forced(isa);
      Outputs got(spec);
      merge(x.state, y.state, got.state);
      merge(x_result, y_result, {got.out, got.lse});
      CHECK(same_bits(got, want));
      Outputs in_place = run(attention, other);
      merge(x.state, in_place.state, in_place.state);
      merge(x_result, {in_place.out, in_place.lse}, {in_place.out, in_place.lse});
      CHECK(same_bits(in_place.state_storage.o, want.state_storage.o));
      CHECK(same_bits(in_place.state_storage.m, want.state_storage.m));
      CHECK(same_bits(in_place.state_storage.l, want.state_storage.l));
      CHECK(same_bits(in_place.out_storage, want.out_storage));
      CHECK(same_bits(in_place.lse_storage, want.lse_storage));
    }
  }
}

TEST_CASE("an invalid state gives an error that names it, and nothing is written") {
  Spec spec = state_spec();
  spec.state_in = true;
  const Problem problem(spec);
  const Outputs untouched(spec);
  struct Mistake {
    std::function<void(AttentionOptions&)> make;
    std::string words;
  };
  const std::vector<Mistake> mistakes{
      {[](auto& o) { o.state_in.m.shape[0] = 1; }, "state_in: m: batch 1 does not match 2"},
      {[](auto& o) { o.state_in.l.shape[2] = 1; }, "state_in: l: q_len 1 does not match"},
      {[](auto& o) { o.state_in.o.shape[3] = 1; }, "state_in: o: value_dim 1 does not match"},
      {[](auto& o) { o.state_in.o.data = nullptr; }, "state_in: has no o"},
      {[](auto& o) { o.state_in.m.data = nullptr; }, "state_in: m: no memory"},
      {[](auto& o) { o.state_in.o.strides[3] = 2; }, "state_in: o: the stride 2"},
      {[](auto& o) { o.state_out.o.shape[1] = 3; }, "state_out: o: heads 3 does not match 4"},
      {[](auto& o) { o.state_out.l.strides[2] = 0; }, "state_out: l: the stride 0"},
      {[](auto& o) { o.state_out.l = o.state_out.m; }, "state_out: m: overlaps state_out: l"},
      {[](auto& o) { o.state_out.l = o.lse; }, "lse: overlaps state_out: l"},
      {[&](auto& o) { o.state_in.m = o.state_out.m; }, "state_out: m: overlaps state_in: m"},
  };
  for (const Mistake& mistake : mistakes) {
    const Outputs outputs(spec);
    AttentionOptions options = problem.options;
    write_to(outputs, options);
    mistake.make(options);
    const std::string sentence =
        sentence_of([&] { attention(problem.q, problem.k, problem.v, outputs.out, options); });
    CHECK_MESSAGE(sentence.rfind(mistake.words, 0) == 0, "'", sentence, "', not '", mistake.words,
                  "'");
    CHECK(same_bits(outputs, untouched));
  }
}

TEST_CASE("states and results that cannot be merged give an error that names them") {
  const Spec spec = state_spec();
  const Problem problem(spec);
  const Outputs x = run(attention, problem), y = run(attention, problem), to = Outputs(spec);
  AttentionState<float> wrong = y.state;
  wrong.m.shape[1] = 3;
  CHECK(sentence_of([&] { merge(x.state, wrong, to.state); }) == "y: m: heads 3 does not match 4");
  CHECK(sentence_of([&] { merge({}, y.state, to.state); }) == "x: has no o");
  wrong = y.state;
  wrong.m = y.state.l;
  CHECK(sentence_of([&] { merge(x.state, y.state, wrong); }) == "merged: m: overlaps y: l");
  const AttentionResult<const float> x_result{x.out, x.lse};
  CHECK(sentence_of([&] {
          merge(x_result, {y.out, {}}, {to.out, to.lse});
        }) == "y: lse: is not given");
  CHECK(sentence_of([&] {
          merge(x_result, {y.out.sliced(3, 0, 2), y.lse}, {to.out, to.lse});
        }) == "y: out: value_dim 2 does not match merged's out 19");
  CHECK(same_bits(to, Outputs(spec)));
}

}  // namespace rapt::test
