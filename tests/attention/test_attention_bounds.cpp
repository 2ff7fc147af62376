// attention() against float64: the published bound on ordinary and hard data, the guaranteed bound
// on data constructed to round in one direction.
#include "rapt/attention.hpp"
#include "reference/naive64.hpp"
#include "reference/scalar.hpp"
#include "support/bounds.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

using reference::Attention64;

/// The largest error of each output relative to its bound; a NaN or a missing infinity counts as
/// infinite.
struct Shares {
  double out = 0.0;
  double lse = 0.0;
  double weights = 0.0;
};

void raise_share(double& share, float got, double want, double bound) {
  if (std::isinf(want) && double{got} == want) return;
  const double error = std::abs(double{got} - want);
  const double one = error == 0.0 ? 0.0 : error / bound;
  if (!(one <= share)) share = std::isnan(one) ? std::numeric_limits<double>::infinity() : one;
}

/// Relative to the published bound for out and lse, to the guaranteed one for the weights.
Shares shares_of(const Outputs& got, const Attention64& want, const Shape& s) {
  Shares shares;
  std::size_t row = 0;
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t h = 0; h < s.heads; ++h) {
      for (std::int64_t i = 0; i < s.q_len; ++i, ++row) {
        const double score_sum = want.score_sum[row];
        for (std::int64_t d = 0; d < s.value_dim; ++d) {
          const std::size_t at =
              row * static_cast<std::size_t>(s.value_dim) + static_cast<std::size_t>(d);
          raise_share(shares.out, got.out(b, h, i, d), want.out[at],
                      out_bound(score_sum, want.value_sum[at]));
        }
        raise_share(shares.lse, got.lse(b, h, i), want.lse[row],
                    lse_bound(score_sum, want.lse[row]));
        for (std::int64_t j = 0; j < s.kv_len; ++j) {
          const std::size_t at =
              row * static_cast<std::size_t>(s.kv_len) + static_cast<std::size_t>(j);
          raise_share(shares.weights, got.weights(b, h, i, j), want.weights[at],
                      weight_guaranteed({s.head_dim, s.kv_len}, score_sum, want.weights[at]));
        }
      }
    }
  }
  return shares;
}

Spec bounds_spec(std::int64_t kv_len) {
  Spec spec;
  spec.shape = {.batch = 1,
                .heads = 2,
                .kv_heads = 1,
                .q_len = quick() ? 3 : 20,
                .kv_len = kv_len,
                .head_dim = 64,
                .value_dim = 48};
  spec.lse = true;
  spec.weights = true;
  return spec;
}

/// Checks the published bound on every ISA, and the guaranteed one for the weights.
void check_published(const Problem& problem) {
  const Attention64 want = reference::attention64(problem.q, problem.k, problem.v, problem.options);
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    const Outputs got = run(attention, problem);
    const Shares shares = shares_of(got, want, problem.spec.shape);
    const std::string which = std::string(isa_name(isa)) + ": " + describe(problem.spec);
    CHECK_MESSAGE(shares.out <= 1.0, which);
    CHECK_MESSAGE(shares.lse <= 1.0, which);
    CHECK_MESSAGE(shares.weights <= 1.0, which);
  }
}

void scale(const TensorView<float, 4>& view, float factor) {
  for (std::int64_t h = 0; h < view.shape[1]; ++h) {
    for (std::int64_t i = 0; i < view.shape[2]; ++i) {
      for (std::int64_t d = 0; d < view.shape[3]; ++d) view(0, h, i, d) *= factor;
    }
  }
}

}  // namespace

TEST_CASE("attention keeps the published bound on Gaussian data") {
  for (const std::int64_t kv_len : {1, 16, 255, 256, 257, 1000, quick() ? 600 : 3000}) {
    Spec spec = bounds_spec(kv_len);
    check_published(Problem(spec));
    spec.mask = causal_bottom_right();
    spec.bias = true;
    check_published(Problem(spec));
  }
}

TEST_CASE("attention keeps the published bound with a soft cap, a window, ALiBi and sinks") {
  for (const std::int64_t kv_len : {40, 257, 600}) {
    for (unsigned options = 1; options < 16; ++options) {
      Spec spec = bounds_spec(kv_len);
      spec.mask.query_offset = kv_len / 2;
      if ((options & 1u) != 0) spec.soft_cap = kv_len == 257 ? 30.0f : 0.5f;
      if ((options & 2u) != 0) spec.alibi_slope = 0.125f;
      if ((options & 4u) != 0) spec.mask = spec.mask.windowed(kv_len / 3, 7);
      if ((options & 8u) != 0) spec.sink = 1.5f;
      spec.bias = options % 3 == 0;
      spec.seed = options;
      const Problem problem(spec);
      scale(problem.q, 3.0f);
      check_published(problem);
    }
  }
}

TEST_CASE("attention keeps the published bound with normalised queries and keys") {
  for (const std::int64_t kv_len : {40, 257, 600}) {
    for (const float factor : {0.001f, 1.0f, 1e6f}) {
      Spec spec = bounds_spec(kv_len);
      spec.qk_norm = 1e-6f;
      spec.qk_norm_weights = kv_len != 257;
      if (kv_len == 600) spec.rope = Rope::half;
      const Problem problem(spec);
      scale(problem.q, factor);
      scale(problem.k, factor);
      check_published(problem);
    }
  }
}

TEST_CASE("attention keeps the published bound with rotated queries and keys") {
  for (const std::int64_t kv_len : {40, 257, 600}) {
    for (const Rope style : {Rope::half, Rope::interleaved}) {
      Spec spec = bounds_spec(kv_len);
      spec.rope = style;
      spec.rope_whole = kv_len == 257;
      const Problem problem(spec);
      scale(problem.q, 3.0f);
      check_published(problem);
    }
  }
}

TEST_CASE("attention keeps the published bound when one key has nearly all the weight") {
  for (const float factor : {5.0f, 30.0f, 300.0f}) {
    const Problem problem(bounds_spec(600));
    scale(problem.q, factor);
    check_published(problem);
  }
}

TEST_CASE("attention keeps the published bound when values cancel in the output") {
  const Problem problem(bounds_spec(600));
  scale(problem.q, 0.01f);  // Nearly equal weights, and values that sum to almost nothing.
  for (std::int64_t j = 0; j + 1 < 600; j += 2) {
    for (std::int64_t d = 0; d < problem.spec.shape.value_dim; ++d) {
      problem.v(0, 0, j, d) *= 1000.0f;
      problem.v(0, 0, j + 1, d) = -problem.v(0, 0, j, d);
    }
  }
  check_published(problem);
}

TEST_CASE("attention keeps the published bound when products cancel in the scores") {
  const Problem problem(bounds_spec(600));
  const std::int64_t dim = problem.spec.shape.head_dim;
  for (std::int64_t j = 0; j < 600; ++j) {  // The second half of each product cancels the first.
    for (std::int64_t d = 0; d < dim / 2; ++d) {
      problem.k(0, 0, j, d) *= 100.0f;
      problem.k(0, 0, j, dim - 1 - d) = -problem.k(0, 0, j, d);
    }
  }
  for (std::int64_t h = 0; h < 2; ++h) {
    for (std::int64_t i = 0; i < problem.spec.shape.q_len; ++i) {
      for (std::int64_t d = 0; d < dim / 2; ++d) {
        problem.q(0, h, i, dim - 1 - d) = problem.q(0, h, i, d);
      }
    }
  }
  check_published(problem);
}

TEST_CASE("attention keeps the published bound when the maximum rises in every block") {
  const Problem problem(bounds_spec(1500));
  for (std::int64_t j = 0; j < 1500; ++j) {  // Keys along the first query, ever longer.
    for (std::int64_t d = 0; d < problem.spec.shape.head_dim; ++d) {
      problem.k(0, 0, j, d) = problem.q(0, 0, 0, d) * static_cast<float>(j) / 256.0f;
    }
  }
  check_published(problem);
}

TEST_CASE("attention keeps the published bound over twelve orders of magnitude") {
  const Problem problem(bounds_spec(600));
  Random random(11);
  for (std::int64_t j = 0; j < 600; ++j) {
    for (std::int64_t d = 0; d < problem.spec.shape.value_dim; ++d) {
      problem.v(0, 0, j, d) *= std::ldexp(1.0f, static_cast<int>(random.below(41)) - 20);
    }
    for (std::int64_t d = 0; d < problem.spec.shape.head_dim; ++d) {
      problem.k(0, 0, j, d) *= std::ldexp(1.0f, static_cast<int>(random.below(21)) - 18);
    }
  }
  check_published(problem);
}

TEST_CASE("attention keeps the guaranteed bound when all roundings go in the same direction") {
  for (const std::int64_t dim : {64, 128, 512}) {
    CAPTURE(dim);
    // Key 0: 1 + 2^-24 (1 + 2^-10) + ...: each addend is just above half a ULP and is rounded up.
    // Key 1: the same score without a rounding. The output is their difference.
    std::vector<float> q(static_cast<std::size_t>(dim), 1.0f);
    std::vector<float> k(static_cast<std::size_t>(2 * dim), 0.0f);
    for (std::int64_t d = 0; d < dim; ++d) k[static_cast<std::size_t>(d)] = 0x1.004p-24f;
    k[0] = 1.0f;
    k[static_cast<std::size_t>(dim)] = 1.0f;
    const std::vector<float> v{1.0f, -1.0f};
    const TensorView<const float, 4> qv(q.data(), {1, 1, 1, dim});
    const TensorView<const float, 4> kv(k.data(), {1, 1, 2, dim});
    const TensorView<const float, 4> vv(v.data(), {1, 1, 2, 1});
    // c = softmax_scale log2(e) is 1 as closely as a float allows: q' keeps its few bits.
    AttentionOptions options{.softmax_scale = static_cast<float>(kernels::kLn2)};
    const Attention64 want = reference::attention64(qv, kv, vv, options);
    const double score_sum = want.score_sum[0];
    const AttentionSizes sizes{dim, 2};
    for (const Isa isa : available_isas()) {
      CAPTURE(isa_name(isa));
      const ForcedIsa forced(isa);
      float out = 0.0f;
      float lse = 0.0f;
      options.lse = {&lse, {1, 1, 1}};
      attention(qv, kv, vv, {&out, {1, 1, 1, 1}}, options);
      CHECK(std::abs(double{out} - want.out[0]) <=
            out_guaranteed(sizes, score_sum, want.value_sum[0], want.value_max[0]));
      CHECK(std::abs(double{lse} - want.lse[0]) <= lse_guaranteed(sizes, score_sum, want.lse[0]));
    }
  }
}

TEST_CASE("the guaranteed bound holds whenever the published one does, and for long chains") {
  for (const std::int64_t kv_len : {40, 700}) {
    Spec spec = bounds_spec(kv_len);
    spec.shape.head_dim = 1000;
    const Problem problem(spec);
    const Outputs got = run(attention, problem);
    const Attention64 want = reference::attention64(problem.q, problem.k, problem.v);
    const std::size_t dims = static_cast<std::size_t>(spec.shape.value_dim);
    for (std::size_t at = 0; at < want.out.size(); ++at) {
      const std::size_t row = at / dims;
      const auto h = static_cast<std::int64_t>(row) / spec.shape.q_len;
      const auto i = static_cast<std::int64_t>(row) % spec.shape.q_len;
      const float out = got.out(0, h, i, static_cast<std::int64_t>(at % dims));
      CHECK(std::abs(double{out} - want.out[at]) <=
            out_guaranteed({1000, kv_len}, want.score_sum[row], want.value_sum[at],
                           want.value_max[at]));
    }
  }
}

}  // namespace rapt::test
