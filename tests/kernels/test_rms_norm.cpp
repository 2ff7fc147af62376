// rms_norm() on every ISA against plain loops and against float64, and QK-norm against a call
// before attention().
#include "rapt/rms_norm.hpp"
#include "reference/rows.hpp"
#include "support/bounds.hpp"
#include "support/check_every_isa.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kUntouched = 77.0f;

/// Three rows of `width` numbers, five floats apart.
struct Rows {
  explicit Rows(std::int64_t width_)
      : width(width_), x(normal_floats(static_cast<std::size_t>(3 * (width_ + 5)), 7)) {}

  TensorView<float, 2> view(std::vector<float>& storage) const {
    return {storage.data(), {3, width}, {width + 5, 1}};
  }
  std::vector<float> row(std::int64_t i) const {
    const float* first = x.data() + i * (width + 5);
    return {first, first + width};
  }

  std::int64_t width;
  std::vector<float> x;
};

}  // namespace

TEST_CASE("rms_norm has the bits of plain loops on every ISA, for every width") {
  for (const std::int64_t width :
       {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 80, 127, 128, 300, 1024}) {
    CAPTURE(width);
    Rows rows(width);
    rows.x[static_cast<std::size_t>(width / 2)] = kNaN;  // makes all of row 0 NaN
    rows.x[static_cast<std::size_t>(width + 5)] = -0.0f;
    const std::vector<float> weight = normal_floats(static_cast<std::size_t>(width), 8);
    for (const bool weighted : {false, true}) {
      const std::span<const float> by = weighted ? weight : std::span<const float>();
      std::vector<float> want(rows.x.size(), kUntouched);
      for (std::int64_t i = 0; i < 3; ++i) {
        const std::vector<float> row = reference::normalized(rows.row(i), by, 1e-5f);
        std::copy(row.begin(), row.end(), want.begin() + i * (width + 5));
      }
      for (const Isa isa : available_isas()) {
        const ForcedIsa forced(isa);
        CAPTURE(isa_name(isa));
        std::vector<float> y(rows.x.size(), kUntouched), in_place = rows.x;
        rms_norm(rows.view(rows.x), rows.view(y), by, 1e-5f);
        CHECK(same_bits(y, want));
        rms_norm(rows.view(in_place), rows.view(in_place), by, 1e-5f);
        rms_norm(rows.view(rows.x), rows.view(y), by, 1e-5f);
        for (std::int64_t i = 0; i < 3 * (width + 5); ++i) {
          const auto at = static_cast<std::size_t>(i);
          if (want[at] == kUntouched) in_place[at] = kUntouched;
        }
        CHECK(same_bits(in_place, y));
      }
    }
  }
}

TEST_CASE("rms_norm keeps its bound against float64, also for tiny and huge rows") {
  for (const std::int64_t width : {1, 5, 64, 128, 1000}) {
    for (const float factor : {1e-12f, 1e-3f, 1.0f, 1e15f}) {
      Rows rows(width);
      for (float& x : rows.x) x *= factor;
      std::vector<float> y(rows.x.size());
      rms_norm(rows.view(rows.x), rows.view(y), {}, 1e-6f);
      for (std::int64_t i = 0; i < 3; ++i) {
        const std::vector<float> x = rows.row(i);
        const auto want = reference::normalized64(reference::row64(x.data(), width), {}, 1e-6f);
        for (std::int64_t d = 0; d < width; ++d) {
          const double exact = want.value[static_cast<std::size_t>(d)];
          CHECK(std::abs(double{rows.view(y)(i, d)} - exact) <= rms_norm_bound(width, exact));
        }
      }
    }
  }
}

TEST_CASE("a row of zeros stays zeros, and a row whose squares overflow becomes zeros") {
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    std::vector<float> x{0, 0, 0, 1e30f, 1e30f, 1e30f};
    const TensorView<float, 2> rows(x.data(), {2, 3});
    rms_norm(rows, rows);
    CHECK(same_bits(x, std::vector<float>(6, 0.0f)));
  }
}

TEST_CASE("QK-norm has the bits of normalising and then rotating q and k before the call") {
  Spec spec;
  spec.shape = {.batch = 2, .heads = 4, .kv_heads = 2, .q_len = 30, .kv_len = 300, .head_dim = 40};
  spec.mask = causal(270);
  spec.rope = Rope::half;
  spec.qk_norm = 1e-5f;
  spec.qk_norm_weights = true;
  spec.lse = true;
  const Problem problem(spec);
  Problem before(spec);
  rms_norm(before.q, before.q, problem.q_weight, 1e-5f);
  rms_norm(before.k, before.k, problem.k_weight, 1e-5f);
  before.options.qk_norm.reset();
  Problem half_done(spec);
  rms_norm(half_done.k, half_done.k, problem.k_weight, 1e-5f);
  half_done.options.qk_norm->normalize_keys = false;
  half_done.options.qk_norm->k_weight = {};
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    const Outputs want = run(attention, problem);
    CHECK(same_bits(run(attention, before), want));
    CHECK(same_bits(run(attention, half_done), want));
  }
}

TEST_CASE("wrong arguments of rms_norm and of QK-norm are errors that name them") {
  Rows rows(8);
  std::vector<float> y(rows.x.size(), kUntouched);
  const std::vector<float> before = y, weight(8, 1.0f);
  const auto check = [&](const char* part, const std::function<void()>& call) {
    const std::string sentence = sentence_of(call);
    CHECK_MESSAGE(sentence.find(part) != std::string::npos, "\"", sentence, "\" lacks ", part);
    CHECK(same_bits(y, before));
  };
  const TensorView<float, 2> x = rows.view(rows.x), to = rows.view(y);
  check("weight: length 7", [&] { rms_norm(x, to, std::span(weight).first(7)); });
  check("epsilon: -1.0", [&] { rms_norm(x, to, weight, -1.0f); });
  check("epsilon: nan", [&] { rms_norm(x, to, weight, kNaN); });
  check("dimension 0 2", [&] { rms_norm(x, to.sliced(0, 0, 2)); });
  check("y: overlaps x", [&] { rms_norm(to.sliced(0, 0, 2), to.sliced(0, 1, 2)); });
  check("y: overlaps weight", [&] { rms_norm(x, to, std::span<const float>(y).first(8)); });

  Spec spec;
  spec.qk_norm = 0.1f;
  Problem problem(spec);
  const auto attend = [&] { run(attention, problem); };
  problem.options.qk_norm->q_weight = std::span(weight).first(3);
  check("qk_norm.q_weight: length 3", attend);
  *problem.options.qk_norm = {.k_weight = std::span(weight).first(3)};
  check("qk_norm.k_weight: length 3", attend);
  *problem.options.qk_norm = {.epsilon = -0.5f};
  check("qk_norm.epsilon: -0.5", attend);
  const std::vector<float> sixteen(16, 1.0f);
  *problem.options.qk_norm = {.k_weight = sixteen, .normalize_keys = false};
  check("k_weight cannot be combined with normalize_keys = false", attend);
}

}  // namespace rapt::test
