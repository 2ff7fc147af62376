// Selected rows of the weights and their sums over the queries.
#include "rapt/attention.hpp"
#include "reference/naive64.hpp"
#include "support/bounds.hpp"
#include "support/check_every_isa.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

Spec weights_spec() {
  Spec spec;
  spec.shape = {.batch = 2,
                .heads = 6,
                .kv_heads = 2,
                .q_len = 40,
                .kv_len = 290,
                .head_dim = 12,
                .value_dim = 5};
  spec.mask = causal_bottom_right();
  spec.kv_lens = true;
  spec.weights = true;
  return spec;
}

}  // namespace

TEST_CASE("weights of selected queries are rows of the whole weights") {
  Spec spec = weights_spec();
  const Outputs whole = run(attention, Problem(spec));
  spec.weights_rows = true;
  const Problem problem(spec);
  const Outputs some = run(attention, problem);
  REQUIRE(problem.weights_rows.size() == 14);
  for (std::int64_t n = 0; n < 14; ++n) {
    const std::int64_t i = problem.weights_rows[static_cast<std::size_t>(n)];
    for (std::int64_t j = 0; j < 290; ++j) {
      CHECK(some.weights(1, 4, n, j) == whole.weights(1, 4, i, j));
    }
  }
  CHECK(same_bits(some.out_storage, whole.out_storage));
}

TEST_CASE("weight sums equal the summed weights, with the same bits alone and in a batch") {
  for (const WeightSums kind : {WeightSums::per_head, WeightSums::per_kv_head}) {
    Spec spec = weights_spec();
    spec.weight_sums = kind;
    const Problem problem(spec);
    const Outputs got = run(attention, problem);
    const std::int64_t together = kind == WeightSums::per_head ? 1 : 3;
    for (std::int64_t n = 0; n < 6 / together; ++n) {
      for (std::int64_t j = 0; j < 290; ++j) {
        float sum = 0.0f;
        for (std::int64_t i = 0; i < 40; ++i) {
          for (std::int64_t h = n * together; h < (n + 1) * together; ++h) {
            sum += got.weights(1, h, i, j);
          }
        }
        CHECK(got.weight_sums(1, n, j) == sum);
      }
    }
    Outputs alone(spec);
    AttentionOptions options = problem.options;
    options.kv_lens = options.kv_lens.subspan(1, 1);
    options.weight_sums = alone.weight_sums.sliced(0, 1, 1);
    attention(problem.q.sliced(0, 1, 1), problem.k.sliced(0, 1, 1), problem.v.sliced(0, 1, 1),
              alone.out.sliced(0, 1, 1), options);
    for (std::int64_t j = 0; j < 290; ++j) {
      CHECK(alone.weight_sums(1, 1, j) == got.weight_sums(1, 1, j));
    }
  }
}

TEST_CASE("weight sums keep their bound against float64") {
  Spec spec = weights_spec();
  spec.weight_sums = WeightSums::per_head;
  spec.soft_cap = 5.0f;
  const Problem problem(spec);
  const reference::Attention64 want =
      reference::attention64(problem.q, problem.k, problem.v, problem.options);
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    const Outputs got = run(attention, problem);
    for (std::size_t h = 0; h < 6; ++h) {
      for (std::size_t j = 0; j < 290; ++j) {
        double sum = 0.0, bound = 0.0;
        for (std::size_t i = 0; i < 40; ++i) {
          const std::size_t row = (6 + h) * 40 + i;
          const double w = want.weights[row * 290 + j];
          sum += w;
          bound += weight_guaranteed({12, 290}, want.score_sum[row], w);
        }
        bound += gamma(40.0) * (sum + bound);
        const auto at = static_cast<std::int64_t>(j);
        const double off = double{got.weight_sums(1, static_cast<std::int64_t>(h), at)} - sum;
        CHECK(std::abs(off) <= bound);
      }
    }
  }
}

TEST_CASE("weight sums without queries are 0") {
  Spec spec = weights_spec();
  spec.shape.q_len = 0;
  spec.weight_sums = WeightSums::per_kv_head;
  check_every_isa(spec);
  CHECK(run(attention, Problem(spec)).weight_sums(1, 1, 289) == 0.0f);
}

TEST_CASE("invalid weights_rows and weight_sums give an error that names them") {
  Spec spec = weights_spec();
  spec.weight_sums = WeightSums::per_head;
  const Problem problem(spec);
  const auto error = [&](const std::vector<std::int64_t>& rows, auto change) {
    const Outputs outputs(spec);
    AttentionOptions options = problem.options;
    write_to(outputs, options);
    options.weights_rows = rows;
    if (!rows.empty()) {
      options.weights = options.weights.sliced(2, 0, static_cast<std::int64_t>(rows.size()));
    }
    change(options);
    const std::string sentence =
        sentence_of([&] { attention(problem.q, problem.k, problem.v, outputs.out, options); });
    CHECK(same_bits(outputs, Outputs(spec)) == !sentence.empty());
    return sentence;
  };
  const auto nothing = [](AttentionOptions&) {};
  CHECK(error({0, 39}, nothing) == "");
  CHECK(error({3, 40}, nothing) == "weights_rows: query 40 is not within q_len 40");
  CHECK(error({-1}, nothing) == "weights_rows: query -1 is not within q_len 40");
  CHECK(error({3, 5, 4}, nothing) == "weights_rows: query 4 does not come after 5");
  CHECK(error({3, 3}, nothing) == "weights_rows: query 3 does not come after 3");
  CHECK(error({3}, [](auto& o) { o.weights = {}; }) ==
        "weights_rows: mean nothing without weights");
  CHECK(error({3}, [](auto& o) { o.weights.shape[2] = 2; }) == "weights: q_len 2 does not match 1");
  CHECK(error({}, [](auto& o) { o.weight_sums.shape[1] = 3; }) ==
        "weight_sums: heads 3 is neither q's heads 6 nor k's kv_heads 2");
  CHECK(error({}, [](auto& o) { o.weight_sums.shape[2] = 3; }) ==
        "weight_sums: kv_len 3 does not match k's kv_len 290");
  CHECK(error({}, [](auto& o) {
          o.weight_sums.strides[1] = 1;
        }).rfind("weight_sums: the stride", 0) == 0);
  CHECK(error({}, [](auto& o) {
          o.weight_sums = {o.weights.data, o.weight_sums.shape};
        }) == "weights: overlaps weight_sums");
}

}  // namespace rapt::test
