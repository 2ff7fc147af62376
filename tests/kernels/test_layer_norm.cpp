// layer_norm() on every ISA against plain loops and against float64.
#include "kernels/row_layout.hpp"
#include "rapt/layer_norm.hpp"
#include "reference/row_functions.hpp"
#include "support/arena.hpp"
#include "support/bounds.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

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
constexpr float kInf = std::numeric_limits<float>::infinity();

/// Everything that a call writes.
struct Written {
  explicit Written(const SpacedRows& rows)
      : y(rows.unwritten()),
        mean(static_cast<std::size_t>(rows.rows), kUntouched),
        inverse_deviation(mean) {}

  LayerNormOptions with(LayerNormOptions options) {
    options.mean = mean;
    options.inverse_deviation = inverse_deviation;
    return options;
  }

  std::vector<float> y, mean, inverse_deviation;
};

bool same(const Written& a, const Written& b) {
  return same_bits(a.y, b.y) && same_bits(a.mean, b.mean) &&
         same_bits(a.inverse_deviation, b.inverse_deviation);
}

/// The rows of `rows` by the plain loops, in its layout.
Written stated(const SpacedRows& rows, const LayerNormOptions& options) {
  Written all(rows);
  for (std::int64_t i = 0; i < rows.rows; ++i) {
    const auto row =
        reference::layer_norm(rows.row(i), options.weight, options.bias, options.epsilon);
    std::ranges::copy(row.y, all.y.begin() + static_cast<std::ptrdiff_t>(rows.at(i, 0)));
    all.mean[static_cast<std::size_t>(i)] = row.mean;
    all.inverse_deviation[static_cast<std::size_t>(i)] = row.inverse_deviation;
  }
  return all;
}

void check_every_isa(const SpacedRows& rows, const LayerNormOptions& options) {
  const Written want = stated(rows, options);
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    CAPTURE(isa_name(isa));
    std::vector<float> x = rows.x;
    Written all(rows), y_alone(rows);
    layer_norm(rows.view(x), rows.view(all.y), all.with(options));
    CHECK(same(all, want));
    layer_norm(rows.view(x), rows.view(y_alone.y), options);
    CHECK(same_bits(y_alone.y, want.y));
    layer_norm(rows.view(x), rows.view(x), options);
    CHECK(same_bits(x, want.y));
  }
}

}  // namespace

TEST_CASE("layer_norm has the bits of plain loops on every ISA, for every width") {
  for (const std::int64_t width : kRowWidths) {
    CAPTURE(width);
    SpacedRows rows(5, width, 7);
    // NaN, infinity, and a sum that overflows make a row NaN; squares that overflow do not.
    rows.x[rows.at(0, width / 2)] = kNaN;
    rows.x[rows.at(1, width - 1)] = -kInf;
    for (std::int64_t d = 0; d < width; ++d) {
      rows.x[rows.at(2, d)] = 3e38f;
      rows.x[rows.at(3, d)] *= 1e30f;
    }
    const std::vector<float> weight = normal_floats(static_cast<std::size_t>(width), 8),
                             bias = normal_floats(static_cast<std::size_t>(width), 9);
    check_every_isa(rows, {});
    check_every_isa(rows, {.weight = weight});
    check_every_isa(rows, {.bias = bias, .epsilon = 0.1f});
    check_every_isa(rows, {.weight = weight, .bias = bias, .epsilon = 0.0f});
  }
}

TEST_CASE(
    "layer_norm keeps its bound against float64, also far from 0 and for tiny and huge rows") {
  for (const std::int64_t width : {1, 5, 64, 128, 1000, 20'000}) {
    const std::vector<float> weight = normal_floats(static_cast<std::size_t>(width), 8),
                             bias = normal_floats(static_cast<std::size_t>(width), 9);
    for (const float factor : {1e-12f, 1e-3f, 1.0f, 1e15f}) {
      for (const float offset : {0.0f, -3.0f, 1e4f}) {
        SpacedRows rows(2, width, 11);
        for (float& x : rows.x) x = (x + offset) * factor;
        const LayerNormOptions options{.weight = weight, .bias = bias};
        Written got(rows);
        layer_norm(rows.view(rows.x), rows.view(got.y), got.with(options));
        for (std::int64_t i = 0; i < rows.rows; ++i) {
          const auto x = rows.row(i);
          const auto row = static_cast<std::size_t>(i);
          double magnitude = 0.0;
          for (const double component : x) magnitude += std::abs(component);
          magnitude /= static_cast<double>(width);
          const auto want = reference::layer_norm64(x, weight, bias, options.epsilon);
          const LayerNormBound bound(width, magnitude, want.inverse_deviation);
          CHECK(std::abs(double{got.mean[row]} - want.mean) <= mean_bound(width, magnitude));
          CHECK(std::abs(double{got.inverse_deviation[row]} - want.inverse_deviation) <=
                bound.of_inverse());
          for (std::size_t d = 0; d < x.size(); ++d) {
            const double normalized = (double{x[d]} - want.mean) * want.inverse_deviation;
            const double y{got.y[rows.at(i, static_cast<std::int64_t>(d))]};
            CHECK(std::abs(y - want.y[d]) <=
                  bound.of_component(normalized, double{weight[d]}, double{bias[d]}));
          }
        }
      }
    }
  }
}

TEST_CASE("layer_norm of equal numbers, and of a row whose squares overflow, is the bias") {
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    std::vector<float> x{0.5f, 0.5f, 0.5f, 0.5f, 1e30f, -1e30f, 1e30f, -1e30f};
    const TensorView<float, 2> rows(x.data(), {2, 4});
    const std::vector<float> weight{4, 5, 6, 7}, bias{1, 2, 3, -4};
    layer_norm(rows, rows, {.weight = weight, .bias = bias});
    CHECK(x == std::vector<float>{1, 2, 3, -4, 1, 2, 3, -4});
  }
}

TEST_CASE("layer_norm over heads and tokens in any order has the bits of the rows alone") {
  const std::int64_t batch = 2, tokens = 300, heads = 2, width = 21;
  const std::vector<float> x = normal_floats(static_cast<std::size_t>(2 * 300 * 2 * 21), 5);
  std::vector<float> y(x.size(), kUntouched), want(x.size());
  std::vector<float> mean(static_cast<std::size_t>(batch * tokens * heads)), want_mean(mean);
  // The memory is [batch, tokens, heads, width]; the means are in the order of the view's rows.
  const TensorView<const float, 4> from(x.data(), {batch, tokens, heads, width});
  const TensorView<float, 4> to(y.data(), {batch, tokens, heads, width});
  layer_norm(from.swapped(1, 2), to.swapped(1, 2), {.mean = mean});
  layer_norm(TensorView<const float, 2>(x.data(), {batch * tokens * heads, width}),
             TensorView<float, 2>(want.data(), {batch * tokens * heads, width}),
             {.mean = want_mean});
  CHECK(same_bits(y, want));
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t h = 0; h < heads; ++h) {
        CHECK(mean[static_cast<std::size_t>((b * heads + h) * tokens + t)] ==
              want_mean[static_cast<std::size_t>((b * tokens + t) * heads + h)]);
      }
    }
  }
}

TEST_CASE("layer_norm has the same bits on one thread and on many") {
  const SpacedRows rows(2000, 300, 9);
  std::vector<float> x = rows.x;
  Written one(rows), many(rows);
  in_arena(1, [&] { layer_norm(rows.view(x), rows.view(one.y), one.with({})); });
  in_arena(4, [&] { layer_norm(rows.view(x), rows.view(many.y), many.with({})); });
  CHECK(same(one, many));
  CHECK(same(one, stated(rows, {})));
}

TEST_CASE("rows of width 0 have the mean NaN") {
  std::vector<float> mean(6, kUntouched);
  layer_norm(TensorView<const float, 4>(nullptr, {1, 2, 3, 0}),
             TensorView<float, 4>(nullptr, {1, 2, 3, 0}), {.mean = mean});
  CHECK(same_bits(mean, std::vector<float>(6, kNaN)));
}

TEST_CASE("wrong arguments of layer_norm are errors that name them") {
  SpacedRows rows(3, 8, 7);
  std::vector<float> y = rows.unwritten(), w(8, 1.0f), r(8, 2.0f);
  const std::vector<float> before = y, w_before = w, r_before = r;
  const auto check = [&](const char* part, const std::function<void()>& call) {
    const std::string sentence = sentence_of(call);
    CHECK_MESSAGE(sentence.find(part) != std::string::npos, "\"", sentence, "\" lacks ", part);
    CHECK(same_bits(y, before));
    CHECK(same_bits(w, w_before));
    CHECK(same_bits(r, r_before));
  };
  const TensorView<float, 2> x = rows.view(rows.x), to = rows.view(y);
  const std::span<float> weight(w), result(r), of_x(rows.x), of_y(y);
  check("weight: length 7 does not match x's width 8",
        [&] { layer_norm(x, to, {.weight = weight.first(7)}); });
  check("bias: length 9 does not match x's width 8",
        [&] { layer_norm(x, to, {.bias = of_x.first(9)}); });
  check("epsilon: -1.0", [&] { layer_norm(x, to, {.epsilon = -1.0f}); });
  check("epsilon: nan", [&] { layer_norm(x, to, {.epsilon = kNaN}); });
  check("mean: length 2 does not match x's rows 3",
        [&] { layer_norm(x, to, {.mean = result.first(2)}); });
  check("inverse_deviation: length 8 does not match x's rows 3",
        [&] { layer_norm(x, to, {.inverse_deviation = result}); });
  check("dimension 0 2", [&] { layer_norm(x, to.sliced(0, 0, 2)); });
  check("y: overlaps x", [&] { layer_norm(to.sliced(0, 0, 2), to.sliced(0, 1, 2)); });
  check("y: overlaps weight", [&] { layer_norm(x, to, {.weight = of_y.first(8)}); });
  check("y: overlaps bias", [&] { layer_norm(x, to, {.bias = of_y.first(8)}); });

  const std::span<float> three = result.first(3);
  check("mean: overlaps x", [&] { layer_norm(x, to, {.mean = of_x.first(3)}); });
  check("mean: overlaps y", [&] { layer_norm(x, to, {.mean = of_y.first(3)}); });
  check("mean: overlaps weight",
        [&] { layer_norm(x, to, {.weight = weight, .mean = weight.first(3)}); });
  check("mean: overlaps bias",
        [&] { layer_norm(x, to, {.bias = weight, .mean = weight.first(3)}); });
  const auto inverse = [&](const char* part, std::span<float> memory, LayerNormOptions options) {
    options.inverse_deviation = memory;
    check(part, [&] { layer_norm(x, to, options); });
  };
  inverse("inverse_deviation: overlaps x", of_x.first(3), {});
  inverse("inverse_deviation: overlaps y", of_y.first(3), {});
  inverse("inverse_deviation: overlaps weight", weight.first(3), {.weight = weight});
  inverse("inverse_deviation: overlaps bias", weight.first(3), {.bias = weight});
  inverse("inverse_deviation: overlaps mean", result.subspan(2, 3), {.mean = three});
}

}  // namespace rapt::test
