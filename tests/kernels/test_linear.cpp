// Linear against the scalar statement, bit for bit, and against float64 within its bound.
#include "dispatch/dispatch.hpp"
#include "kernels/abi/arithmetic.hpp"
#include "kernels/kernel_sets.hpp"
#include "rapt/error.hpp"
#include "rapt/linear.hpp"
#include "reference/naive64.hpp"
#include "reference/scalar.hpp"
#include "support/bounds.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct LinearProblem {
  LinearProblem(std::int64_t rows_, std::int64_t in_, std::int64_t out_)
      : rows(rows_),
        in(in_),
        out(out_),
        x(normal_floats(index(rows * in), 1)),
        weight(normal_floats(index(out * in), 2)),
        bias(normal_floats(index(out), 3)) {}

  TensorView<const float, 2> x_view() const { return {x.data(), {rows, in}}; }
  TensorView<const float, 2> weight_view() const { return {weight.data(), {out, in}}; }
  std::vector<float> reference(std::span<const float> b) const {
    std::vector<float> y(index(rows * out));
    reference::linear(x_view(), weight_view(), b, {y.data(), {rows, out}});
    return y;
  }
  std::vector<float> forward(const Linear& layer) const {
    std::vector<float> y(index(rows * out));
    layer.forward(x_view(), {y.data(), {rows, out}});
    return y;
  }

  std::int64_t rows, in, out;
  std::vector<float> x, weight, bias;
};

void check_every_isa(const LinearProblem& problem) {
  for (const bool with_bias : {false, true}) {
    const std::span<const float> bias =
        with_bias ? std::span<const float>(problem.bias) : std::span<const float>();
    const std::vector<float> want = problem.reference(bias);
    const Linear layer(problem.weight_view(), bias);
    for (const Isa isa : available_isas()) {
      const ForcedIsa forced(isa);
      CHECK_MESSAGE(same_bits(problem.forward(layer), want), isa_name(isa), ": rows ", problem.rows,
                    " in ", problem.in, " out ", problem.out, " bias ", with_bias);
    }
  }
}

bool contains(const std::string& sentence, const std::string& word) {
  return sentence.find(word) != std::string::npos;
}

}  // namespace

TEST_CASE("a linear layer has the bits of the scalar statement on every ISA, for every size") {
  constexpr std::int64_t kBlock = kernels::kDepthBlock;
  std::vector<std::int64_t> rows{1, 2, 3, 17};
  for (const Isa isa : available_isas()) {
    const std::int64_t tile = dispatch::kernels_of(isa).tiles.rows;
    for (const std::int64_t count : {tile - 1, tile, tile + 1, 2 * tile + 3}) rows.push_back(count);
  }
  for (const std::int64_t count : rows) {
    for (const std::int64_t out : {1, 15, 16, 17, 31, 32, 33, 64, 70}) {
      for (const std::int64_t in : {std::int64_t{1}, std::int64_t{16}, std::int64_t{33}}) {
        check_every_isa({count, in, out});
      }
    }
    for (const std::int64_t in : {kBlock - 1, kBlock, kBlock + 1, 2 * kBlock + 3}) {
      if (!quick() || count < 4) check_every_isa({count, in, 40});
    }
  }
  check_every_isa({450, 30, 70});  // several items of rows
  if (!quick()) check_every_isa({130, 700, 300});
}

TEST_CASE("a row of a linear layer does not depend on how many rows are multiplied with it") {
  const LinearProblem problem(37, 600, 50);
  const Linear layer(problem.weight_view(), problem.bias);
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    const std::vector<float> whole = problem.forward(layer);
    std::vector<float> one_by_one(whole.size());
    for (std::int64_t i = 0; i < problem.rows; ++i) {
      layer.forward(problem.x_view().sliced(0, i, 1),
                    {one_by_one.data() + i * problem.out, {1, problem.out}});
    }
    CHECK(same_bits(one_by_one, whole));
  }
}

TEST_CASE("a linear layer accepts any strides, writes no padding, and keeps NaN within its row") {
  const LinearProblem problem(5, 21, 35);
  std::vector<float> x_padded(5 * 30, kNaN);
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t d = 0; d < 21; ++d)
      x_padded[index(i * 30 + d)] = problem.x[index(i * 21 + d)];
  }
  x_padded[3 * 30 + 4] = std::bit_cast<float>(0xffc12345u);  // becomes the canonical NaN
  const TensorView<const float, 2> x(x_padded.data(), {5, 21}, {30, 1});
  // The same weights, stored by columns.
  std::vector<float> transposed(problem.weight.size());
  for (std::int64_t e = 0; e < 35; ++e) {
    for (std::int64_t d = 0; d < 21; ++d) {
      transposed[index(d * 35 + e)] = problem.weight[index(e * 21 + d)];
    }
  }
  const Linear layer(TensorView<const float, 2>(transposed.data(), {35, 21}, {1, 35}),
                     problem.bias);
  std::vector<float> want(5 * 40, 7.0f);
  reference::linear(x, problem.weight_view(), problem.bias, {want.data(), {5, 35}, {40, 1}});
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    std::vector<float> got(5 * 40, 7.0f);
    layer.forward(x, {got.data(), {5, 35}, {40, 1}});
    CHECK(same_bits(got, want));
    for (std::int64_t i = 0; i < 5; ++i) CHECK(std::isnan(got[index(i * 40)]) == (i == 3));
  }
}

TEST_CASE("weights per head equal a matrix with heads and elements as rows") {
  constexpr std::int64_t kHeads = 3, kIn = 17, kElements = 11;
  const std::vector<float> w = normal_floats(kHeads * kIn * kElements, 5);
  const TensorView<const float, 3> per_head(w.data(), {kHeads, kIn, kElements});
  LinearProblem problem(4, kIn, kHeads * kElements);
  for (std::int64_t e = 0; e < problem.out; ++e) {
    for (std::int64_t d = 0; d < kIn; ++d) {
      problem.weight[index(e * kIn + d)] = per_head(e / kElements, d, e % kElements);
    }
  }
  const Linear layer = Linear::from_heads(per_head, problem.bias);
  CHECK(layer.in_features() == kIn);
  CHECK(layer.out_features() == kHeads * kElements);
  CHECK(same_bits(problem.forward(layer), problem.reference(problem.bias)));
}

TEST_CASE("a linear layer keeps its bound against float64, also when sums cancel") {
  for (const std::int64_t in : {1, 100, 512, 513, 2000}) {
    LinearProblem problem(6, in, 33);
    for (std::int64_t i = 0; i < problem.rows * in; i += 2) problem.x[index(i)] *= 1000.0f;
    const Linear layer(problem.weight_view(), problem.bias);
    const reference::Linear64 want =
        reference::linear64(problem.x_view(), problem.weight_view(), problem.bias);
    for (const Isa isa : available_isas()) {
      CAPTURE(isa_name(isa));
      CAPTURE(in);
      const ForcedIsa forced(isa);
      const std::vector<float> got = problem.forward(layer);
      for (std::size_t i = 0; i < got.size(); ++i) {
        CHECK(std::abs(double{got[i]} - want.y[i]) <= linear_bound(in, want.magnitude[i]));
      }
    }
  }
}

TEST_CASE("wrong arguments of a linear layer are errors that name them and leave y unchanged") {
  const LinearProblem p(3, 8, 5);
  const Linear layer(p.weight_view(), p.bias);
  std::vector<float> y(3 * 5, 7.0f);
  const std::vector<float> unchanged = y;
  const TensorView<float, 2> y_view(y.data(), {3, 5});

  CHECK(contains(sentence_of([&] { Linear({p.weight.data(), {0, 8}}); }), "weight"));
  CHECK(contains(sentence_of([&] { Linear({p.weight.data(), {5, -1}}); }), "weight"));
  CHECK(contains(sentence_of([&] { Linear({nullptr, DType::f32, {5, 8}}); }), "weight"));
  CHECK(contains(sentence_of([&] { Linear(p.weight_view(), p.x); }), "bias"));
  CHECK(contains(sentence_of([&] {
                   Linear::from_heads({p.weight.data(), {1, 8, 5}}, p.x);
                 }),
                 "bias: length 24"));
  CHECK(contains(sentence_of([&] { Linear::from_heads({p.weight.data(), {1, 0, 5}}); }), "weight"));

  CHECK(contains(sentence_of([&] { Linear().forward(p.x_view(), y_view); }), "empty"));
  CHECK(contains(sentence_of([&] { layer.forward({p.x.data(), {3, 7}}, y_view); }), "x"));
  CHECK(contains(sentence_of([&] { layer.forward({nullptr, DType::f32, {3, 8}}, y_view); }), "x"));
  CHECK(contains(sentence_of([&] { layer.forward({p.x.data(), {3, 8}, {1, 3}}, y_view); }), "x"));
  CHECK(contains(sentence_of([&] { layer.forward(p.x_view(), {y.data(), {3, 4}}); }), "y"));
  CHECK(contains(sentence_of([&] { layer.forward(p.x_view(), {y.data(), {2, 5}}); }), "y"));
  CHECK(contains(sentence_of([&] {
                   layer.forward(p.x_view(), {nullptr, DType::f32, {3, 5}});
                 }),
                 "y"));
  CHECK(contains(sentence_of([&] { layer.forward(p.x_view(), {y.data(), {3, 5}, {1, 3}}); }), "y"));
  CHECK(contains(sentence_of([&] { layer.forward(p.x_view(), {y.data(), {3, 5}, {0, 1}}); }), "y"));
  CHECK(same_bits(y, unchanged));

  std::vector<float> shared(3 * 8 + 3 * 5, 1.0f);
  const std::vector<float> shared_before = shared;
  CHECK(contains(sentence_of([&] {
                   layer.forward({shared.data(), {3, 8}}, {shared.data() + 20, {3, 5}});
                 }),
                 "overlap"));
  CHECK(same_bits(shared, shared_before));
}

TEST_CASE("a linear layer accepts zero rows, and a default one has no features") {
  const LinearProblem p(1, 8, 5);
  const Linear layer(p.weight_view());
  layer.forward({nullptr, DType::f32, {0, 8}}, {nullptr, DType::f32, {0, 5}});
  CHECK(Linear().in_features() == 0);
  CHECK(Linear().out_features() == 0);
}

}  // namespace rapt::test
