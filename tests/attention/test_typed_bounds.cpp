// Results of f32, bf16 and f16 against float64, from inputs of these types: the bound of f32, and
// one more rounding for a result of 16 bits.
#include "kernels/row_layout.hpp"
#include "rapt/attention.hpp"
#include "rapt/layer_norm.hpp"
#include "rapt/rms_norm.hpp"
#include "rapt/softmax.hpp"
#include "reference/naive64.hpp"
#include "reference/row_functions.hpp"
#include "reference/rows.hpp"
#include "support/bounds.hpp"
#include "support/on_every_isa.hpp"
#include "support/problems.hpp"
#include "support/typed.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

using reference::Attention64;

constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16};
constexpr std::int64_t kKeys = 600;

/// Changes q, k and v of a problem of Gaussian numbers.
struct Data {
  const char* name;
  void (*change)(const Problem&);
  bool bias = true;
};

template <class Change>
void change_each(const TensorView<float, 4>& view, const Change& change) {
  for (std::int64_t h = 0; h < view.shape[1]; ++h) {
    for (std::int64_t i = 0; i < view.shape[2]; ++i) {
      for (std::int64_t d = 0; d < view.shape[3]; ++d) view(0, h, i, d) = change(view, h, i, d);
    }
  }
}

/// One key of each row has nearly all the weight.
void sharpen(const Problem& problem) {
  change_each(problem.q,
              [](const auto& q, auto h, auto i, auto d) { return 30.0f * q(0, h, i, d); });
}

/// Nearly equal weights, and values that sum to almost nothing.
void cancel(const Problem& problem) {
  change_each(problem.q, [](const auto& q, auto h, auto i, auto d) { return q(0, h, i, d) / 128; });
  change_each(problem.v, [](const auto& v, auto h, auto j, auto d) {
    return j % 2 == 0 ? 512.0f * v(0, h, j, d) : -v(0, h, j - 1, d);
  });
}

/// As in trained models: a few channels of keys and values far larger than the others.
void add_outlier_channels(const Problem& problem) {
  const auto scale = [](const TensorView<float, 4>& view, float factor) {
    change_each(view, [factor](const auto& x, auto h, auto i, auto d) {
      return (d % 19 == 5 ? factor : 1.0f) * x(0, h, i, d);
    });
  };
  scale(problem.q, 0.125f);
  scale(problem.k, 40.0f);
  scale(problem.v, 100.0f);
}

constexpr Data kData[] = {{"Gaussian", [](const Problem&) {}},
                          {"peaked", sharpen},
                          {"cancelling", cancel, false},
                          {"outlier channels", add_outlier_channels}};

Problem problem_of(const Data& data, const Types& types) {
  Spec spec;
  spec.shape = {.heads = 2, .q_len = 3, .kv_len = kKeys, .head_dim = 64, .value_dim = 48};
  spec.shape.kv_heads = 1;
  spec.lse = true;
  spec.bias = data.bias;
  spec.types = types;
  Problem problem(spec);
  data.change(problem);
  problem.set_types();
  return problem;
}

/// The largest error of an output, relative to its bound.
double largest_share(const Problem& problem, const Attention64& want) {
  const Outputs got = run(attention, problem);
  const Shape& s = problem.spec.shape;
  double share = 0.0;
  const auto take_in = [&share](double x, double exact, double bound) {
    share = std::max(share, std::isnan(x) ? HUGE_VAL : std::abs(x - exact) / bound);
  };
  std::size_t row = 0, at = 0;
  for (std::int64_t h = 0; h < s.heads; ++h) {
    for (std::int64_t i = 0; i < s.q_len; ++i, ++row) {
      const double score_sum = want.score_sum[row];
      for (std::int64_t d = 0; d < s.value_dim; ++d, ++at) {
        const double bound = out_bound(score_sum, want.value_sum[at]);
        take_in(double{got.out(0, h, i, d)}, want.out[at],
                rounded_bound(problem.spec.types.out, want.out[at], bound));
      }
      take_in(double{got.lse(0, h, i)}, want.lse[row], lse_bound(score_sum, want.lse[row]));
    }
  }
  return share;
}

/// Rows of `x` rounded to `from`, the results of `call` on them in `to`, and each component's
/// check.
void check_rows(
    const SpacedRows& rows, DType from, DType to,
    const std::function<void(TensorView<const void, 2>, TensorView<void, 2>)>& call,
    const std::function<void(const std::vector<float>&, const std::vector<float>&)>& check) {
  std::vector<float> widened = rows.x, y = rows.unwritten();
  round_to(from, widened);
  std::vector<std::uint16_t> x_memory, y_memory;
  const auto x = typed_view(rows.view(widened), widened, from, x_memory);
  TensorView<void, 2> to_view = rows.view(y);
  if (to != DType::f32) {
    y_memory.resize(y.size());
    to_view = {y_memory.data(), to, to_view.shape, to_view.strides};
  }
  call(x, to_view);
  for (std::size_t i = 0; i < y_memory.size(); ++i) y[i] = widened_bits(y_memory[i], to);
  for (std::int64_t i = 0; i < rows.rows; ++i) {
    const auto row = [&](const std::vector<float>& all) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(rows.at(i, 0));
      return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(rows.width));
    };
    check(row(widened), row(y));
  }
}

}  // namespace

TEST_CASE("attention keeps the bound of its types on Gaussian and on hard data") {
  for (const Data& data : kData) {
    for (const DType in : kTypes) {
      for (const DType out : kTypes) {
        const Problem problem = problem_of(data, {in, in, in, out, in});
        const Attention64 want = reference::attention64(problem.typed_q, problem.typed_k,
                                                        problem.typed_v, problem.options);
        on_every_isa({1}, [&] {
          CHECK_MESSAGE(largest_share(problem, want) <= 1.0, data.name, ", inputs ", dtype_name(in),
                        ", output ", dtype_name(out));
        });
      }
    }
  }
}

TEST_CASE("a result of 16 bits has an error that no bound of f32 allows") {
  for (const DType out : {DType::bf16, DType::f16}) {
    Problem problem = problem_of(kData[0], {DType::f32, DType::f32, DType::f32, out, DType::f32});
    const Attention64 want =
        reference::attention64(problem.typed_q, problem.typed_k, problem.typed_v, problem.options);
    CHECK(largest_share(problem, want) > 0.5);
    problem.spec.types.out = DType::f32;
    CHECK(largest_share(problem, want) <= 1.0);
  }
}

TEST_CASE("rms_norm and softmax keep the bound of their types") {
  for (const DType from : kTypes) {
    for (const DType to : kTypes) {
      for (const float factor : {1.0f, 12.0f, 3e-3f}) {
        SpacedRows rows(3, 777, 21);
        for (float& x : rows.x) x *= factor;
        check_rows(
            rows, from, to, [](auto x, auto y) { softmax(x, y); },
            [&](const std::vector<float>& x, const std::vector<float>& y) {
              const std::vector<double> want = reference::softmax64(x);
              const double top{*std::ranges::max_element(x)};
              for (std::size_t d = 0; d < x.size(); ++d) {
                const double bound = softmax_bound(rows.width, top - double{x[d]}, want[d]);
                CHECK(std::abs(double{y[d]} - want[d]) <= rounded_bound(to, want[d], bound));
              }
            });
        check_rows(
            rows, from, to, [](auto x, auto y) { rms_norm(x, y, {}, 1e-6f); },
            [&](const std::vector<float>& x, const std::vector<float>& y) {
              const auto want =
                  reference::normalized64(reference::row64(x.data(), rows.width), {}, 1e-6f).value;
              for (std::size_t d = 0; d < x.size(); ++d) {
                const double bound = rms_norm_bound(rows.width, want[d]);
                CHECK(std::abs(double{y[d]} - want[d]) <= rounded_bound(to, want[d], bound));
              }
            });
      }
    }
  }
}

}  // namespace rapt::test
