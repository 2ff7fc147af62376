// No tuning changes a bit: random legal ones against the scalar statement, and what is legal.
#include "dispatch/dispatch.hpp"
#include "dispatch/isa_table.hpp"
#include "dispatch/tuning.hpp"
#include "dispatch/tuning_fields.hpp"
#include "fuzz/fuzz_problem.hpp"
#include "rapt/attention.hpp"
#include "rapt/linear.hpp"
#include "reference/scalar.hpp"
#include "support/on_every_isa.hpp"
#include "support/paged_problem.hpp"
#include "support/problems.hpp"
#include "support/ragged_problem.hpp"
#include "support/random_tuning.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace rapt::test {
namespace {

std::vector<float> product(const Linear& linear, const std::vector<float>& x, std::int64_t rows) {
  std::vector<float> y(static_cast<std::size_t>(rows * linear.out_features()));
  linear.forward(TensorView<const float, 2>(x.data(), {rows, linear.in_features()}),
                 TensorView<float, 2>(y.data(), {rows, linear.out_features()}));
  return y;
}

}  // namespace

TEST_CASE("attention has the bits of the scalar statement with random tunings") {
  const std::uint64_t samples = quick() ? 30 : 200;
  for (std::uint64_t seed = 9000; seed < 9000 + samples; ++seed) {
    const RandomTuning tuning(seed);
    const Problem problem = fuzz_problem(seed);
    const Outputs want = run(reference::attention, problem);
    CAPTURE(seed);
    on_every_isa(
        [&] { CHECK_MESSAGE(same_bits(run(attention, problem), want), describe(problem.spec)); });
  }
}

TEST_CASE("paged and cached attention have the bits of the statement with random tunings") {
  const std::uint64_t samples = quick() ? 60 : 400;
  for (std::uint64_t seed = 20'000; seed < 20'000 + samples; ++seed) {
    const Problem problem = fuzz_problem(seed);
    if (!can_be_ragged(problem.spec) || !can_be_paged(problem.spec)) continue;
    const RandomTuning tuning(seed);
    Random random(seed);
    const Cuts cuts =
        seed % 2 == 0 ? random_cuts(problem.spec, random) : random_forks(problem.spec, random);
    const Outputs want = run_ragged_statement(problem, cuts);
    CAPTURE(seed);
    on_every_isa([&] {
      CHECK_MESSAGE(same_bits(run_paged(problem, cuts, random), want), describe(problem.spec));
      if (!can_be_cached(problem.spec, cuts)) return;
      CHECK_MESSAGE(same_bits(run_cached(attention, problem, cuts, random), want),
                    describe(problem.spec));
    });
  }
}

TEST_CASE("products have the same bits with random tunings") {
  const std::uint64_t samples = quick() ? 10 : 60;
  for (std::uint64_t seed = 0; seed < samples; ++seed) {
    Random random(seed);
    const std::int64_t rows = 1 + random.below(seed % 3 == 0 ? 400 : 14);
    const std::int64_t in = 1 + random.below(1200), out = 1 + random.below(200);
    const std::vector<float> weight = normal_floats(static_cast<std::size_t>(out * in), seed);
    const std::vector<float> x = normal_floats(static_cast<std::size_t>(rows * in), seed + 100);
    const Linear linear(TensorView<const float, 2>(weight.data(), {out, in}));
    const std::vector<float> want = product(linear, x, rows);
    const RandomTuning tuning(seed);
    CAPTURE(seed);
    on_every_isa([&] { CHECK(same_bits(product(linear, x, rows), want)); });
  }
}

TEST_CASE("the default of every number of a tuning is legal") {
  for (const dispatch::IsaRow& row : dispatch::isa_table()) {
    for (const auto& field : dispatch::kernel_fields()) {
      CAPTURE(row.kernels->name);
      CAPTURE(field.name);
      CHECK(range_of(field, row.kernels->tiles).has(row.kernels->tuning.*field.number));
    }
  }
  for (const auto& field : dispatch::call_fields()) {
    CAPTURE(field.name);
    CHECK(range_of(field).has(tuning::CallTuning().*field.number));
  }
}

TEST_CASE("a tuning that is set is that of later calls until it is reset") {
  const Isa isa = active_isa();
  kernels::Tuning tuning = dispatch::active_kernels().tuning;
  const std::int64_t before = tuning.stream_floats;
  tuning.stream_floats = before + 1;
  dispatch::set_tuning(isa, tuning);
  dispatch::set_tuning(tuning::CallTuning{.inline_work = 5});
  CHECK(dispatch::active_kernels().tuning.stream_floats == before + 1);
  CHECK(dispatch::call_tuning().inline_work == 5);
  dispatch::reset_tuning();
  CHECK(dispatch::active_kernels().tuning.stream_floats == before);
  CHECK(dispatch::call_tuning().inline_work == tuning::CallTuning().inline_work);
}

}  // namespace rapt::test
