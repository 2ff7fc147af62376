// softmax() on every ISA against plain loops and against float64.
#include "kernels/row_layout.hpp"
#include "rapt/softmax.hpp"
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
constexpr float kLowest = std::numeric_limits<float>::lowest();

/// The rows of `rows` by the plain loops, in its layout.
std::vector<float> stated(const SpacedRows& rows) {
  std::vector<float> y = rows.unwritten();
  for (std::int64_t i = 0; i < rows.rows; ++i) {
    std::ranges::copy(reference::softmax(rows.row(i)),
                      y.begin() + static_cast<std::ptrdiff_t>(rows.at(i, 0)));
  }
  return y;
}

void check_every_isa(const SpacedRows& rows) {
  const std::vector<float> want = stated(rows);
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    CAPTURE(isa_name(isa));
    std::vector<float> x = rows.x, y = rows.unwritten();
    softmax(rows.view(x), rows.view(y));
    CHECK(same_bits(y, want));
    softmax(rows.view(x), rows.view(x));
    CHECK(same_bits(x, want));
  }
}

std::vector<float> softmax_of(std::vector<float> x) {
  const TensorView<float, 2> row(x.data(), {1, static_cast<std::int64_t>(x.size())});
  softmax(row, row);
  return x;
}

}  // namespace

TEST_CASE("softmax has the bits of plain loops on every ISA, for every width") {
  for (const std::int64_t width : kRowWidths) {
    CAPTURE(width);
    SpacedRows rows(4, width, 7);
    for (float& x : rows.x) x = x == kUntouched ? x : 30.0f * x;  // some below exp2's end
    check_every_isa(rows);
    // One of each in a row of its own, in the last element: in the vectors or in the rest.
    for (const float special : {kNaN, kInf, -kInf, kLowest, -kLowest, -0.0f}) {
      rows.x[rows.at(1, width - 1)] = special;
      check_every_isa(rows);
    }
  }
}

TEST_CASE("a row of nothing but -inf becomes zeros, with a NaN among them NaN") {
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    for (const std::size_t width : {1, 16, 21}) {
      CHECK(
          same_bits(softmax_of(std::vector<float>(width, -kInf)), std::vector<float>(width, 0.0f)));
      for (std::size_t at = 0; at < width; ++at) {
        std::vector<float> x(width, -kInf);
        x[at] = -kNaN;
        CHECK(same_bits(softmax_of(x), std::vector<float>(width, kNaN)));
      }
    }
  }
}

TEST_CASE("a NaN or an infinity makes its own row NaN and no other") {
  for (const float special : {kNaN, kInf}) {
    SpacedRows rows(3, 40, 3);
    rows.x[rows.at(1, 5)] = special;
    std::vector<float> y = rows.unwritten();
    softmax(rows.view(rows.x), rows.view(y));
    for (std::int64_t d = 0; d < 40; ++d) {
      CHECK(std::isfinite(y[rows.at(0, d)]));
      CHECK(std::isnan(y[rows.at(1, d)]));
      CHECK(std::isfinite(y[rows.at(2, d)]));
    }
  }
}

TEST_CASE("a row of the lowest float spreads its weight, next to any other number it has none") {
  CHECK(softmax_of({kLowest, kLowest}) == std::vector<float>{0.5f, 0.5f});
  CHECK(softmax_of({kLowest, -87.0f, 0.0f, -1e30f}) == softmax_of({-kInf, -87.0f, 0.0f, -kInf}));
  CHECK(softmax_of({-kLowest, kLowest}) == std::vector<float>{1.0f, 0.0f});
}

TEST_CASE("softmax keeps its bound against float64, also far from 0") {
  for (const std::int64_t width : {1, 5, 64, 128, 1000, 20'000}) {
    for (const float spread : {1e-3f, 1.0f, 20.0f}) {
      for (const float offset : {0.0f, -1e4f, 1e8f}) {
        SpacedRows rows(2, width, 11);
        for (float& x : rows.x) x = x * spread + offset;
        std::vector<float> y = rows.unwritten();
        softmax(rows.view(rows.x), rows.view(y));
        for (std::int64_t i = 0; i < rows.rows; ++i) {
          const auto x = rows.row(i);
          const double top{*std::ranges::max_element(x)};
          const std::vector<double> want = reference::softmax64(x);
          for (std::size_t d = 0; d < x.size(); ++d) {
            const double got{y[rows.at(i, static_cast<std::int64_t>(d))]};
            CHECK(std::abs(got - want[d]) <= softmax_bound(width, top - double{x[d]}, want[d]));
          }
        }
      }
    }
  }
}

TEST_CASE("softmax over heads and tokens in any order has the bits of the rows alone") {
  const std::int64_t batch = 2, tokens = 3, heads = 4, width = 21;
  const std::vector<float> x = normal_floats(static_cast<std::size_t>(2 * 3 * 4 * 21), 5);
  std::vector<float> y(x.size(), kUntouched), want(x.size());
  // The memory is [batch, tokens, heads, width].
  const TensorView<const float, 4> from(x.data(), {batch, tokens, heads, width});
  const TensorView<float, 4> to(y.data(), {batch, tokens, heads, width});
  softmax(from.swapped(1, 2), to.swapped(1, 2));
  softmax(TensorView<const float, 2>(x.data(), {batch * tokens * heads, width}),
          TensorView<float, 2>(want.data(), {batch * tokens * heads, width}));
  CHECK(same_bits(y, want));
}

TEST_CASE("softmax has the same bits on one thread and on many") {
  const SpacedRows rows(2000, 300, 9);
  std::vector<float> x = rows.x, one = rows.unwritten(), many = rows.unwritten();
  in_arena(1, [&] { softmax(rows.view(x), rows.view(one)); });
  in_arena(4, [&] { softmax(rows.view(x), rows.view(many)); });
  CHECK(same_bits(one, many));
  CHECK(same_bits(one, stated(rows)));
}

TEST_CASE("wrong arguments of softmax are errors that name them") {
  SpacedRows rows(3, 8, 7);
  std::vector<float> y = rows.unwritten();
  const std::vector<float> before = y;
  const auto check = [&](const char* part, const std::function<void()>& call) {
    const std::string sentence = sentence_of(call);
    CHECK_MESSAGE(sentence.find(part) != std::string::npos, "\"", sentence, "\" lacks ", part);
    CHECK(same_bits(y, before));
  };
  const TensorView<float, 2> x = rows.view(rows.x), to = rows.view(y);
  check("y: extent of dimension 0 2 does not match x's 3", [&] { softmax(x, to.sliced(0, 0, 2)); });
  check("y: extent of dimension 1 7 does not match x's 8", [&] { softmax(x, to.sliced(1, 0, 7)); });
  check("y: overlaps x", [&] { softmax(to.sliced(0, 0, 2), to.sliced(0, 1, 2)); });
  check("x: the stride 13 of the last dimension is not 1",
        [&] { softmax(x.swapped(0, 1), to.swapped(0, 1)); });
  check("y: no memory", [&] { softmax(x, TensorView<float, 2>(nullptr, {3, 8})); });
}

}  // namespace rapt::test
