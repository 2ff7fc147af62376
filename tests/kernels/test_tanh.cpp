// tanh: its error over all magnitudes, and the same bits from every ISA, observed through the soft
// cap of attention().
#include "kernels/abi/arithmetic.hpp"
#include "reference/scalar.hpp"
#include "support/bounds.hpp"
#include "support/check_every_isa.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

/// Numbers from 2^-126 to 2^127, every `stride`-th, with alternating signs.
std::vector<float> magnitudes(std::uint32_t stride) {
  std::vector<float> x;
  for (std::uint64_t next = bits(0x1p-126f); next < bits(kInfinity); next += stride) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(next));
    x.push_back(x.size() % 2 == 0 ? value : -value);
  }
  return x;
}

}  // namespace

TEST_CASE("tanh is within 3 ULP over all magnitudes, and odd") {
  std::int64_t outside = 0;
  std::int64_t uneven = 0;
  for (const float x : magnitudes(quick() ? 9973 : 97)) {
    const float y = reference::tanh(x);
    const double exact = std::tanh(double{x});
    outside += std::abs(double{y} - exact) <= tanh_bound(exact) ? 0 : 1;
    uneven += bits(reference::tanh(-x)) == bits(-y) ? 0 : 1;
  }
  CHECK(outside == 0);
  CHECK(uneven == 0);
}

TEST_CASE("tanh is within 3 ULP for every float around the border of its two forms") {
  std::int64_t outside = 0;
  float x = kernels::kTanhSmall - 0x1p-9f;
  for (; x < kernels::kTanhSmall + 0x1p-9f; x = std::nextafter(x, 1.0f)) {
    const double exact = std::tanh(double{x});
    outside += std::abs(double{reference::tanh(x)} - exact) <= tanh_bound(exact) ? 0 : 1;
  }
  CHECK(outside == 0);
}

TEST_CASE("tanh of 0 is 0, of an infinity 1 with its sign, of NaN NaN") {
  CHECK(reference::tanh(0.0f) == 0.0f);
  CHECK(reference::tanh(kInfinity) == 1.0f);
  CHECK(reference::tanh(-kInfinity) == -1.0f);
  CHECK(std::isnan(reference::tanh(std::numeric_limits<float>::quiet_NaN())));
  CHECK(reference::tanh(std::numeric_limits<float>::denorm_min()) ==
        std::numeric_limits<float>::denorm_min());
}

TEST_CASE("a soft cap has the bits of the scalar statement for scores of all magnitudes") {
  // Query i sees only key i, so lse[i] is its capped score.
  constexpr std::int64_t kKeys = 600;
  const std::vector<float> x = magnitudes(quick() ? 999'983 : 49'999);
  for (const float cap : {1.0f, 0.37f, 50.0f}) {
    Spec spec;
    spec.shape = {.batch = (std::ssize(x) + kKeys - 1) / kKeys,
                  .q_len = kKeys,
                  .kv_len = kKeys,
                  .head_dim = 1,
                  .value_dim = 1};
    spec.mask = Mask{}.windowed(0, 0);
    spec.soft_cap = cap;
    spec.softmax_scale = static_cast<float>(kernels::kLn2);
    spec.lse = true;
    const Problem problem(spec);
    for (std::int64_t n = 0; n < spec.shape.batch * kKeys; ++n) {
      problem.q(n / kKeys, 0, n % kKeys, 0) = 1.0f;
      problem.k(n / kKeys, 0, n % kKeys, 0) = x[static_cast<std::size_t>(n % std::ssize(x))];
    }
    check_every_isa(problem);
  }
}

}  // namespace rapt::test
