// exp2: its error over every float of its range, and the same bits from every ISA.
#include "core/random.hpp"
#include "dispatch/dispatch.hpp"
#include "kernels/abi/arithmetic.hpp"
#include "rapt/isa.hpp"
#include "reference/scalar.hpp"
#include "support/bounds.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

std::vector<float> exp2_of(const kernels::KernelSet& kernels, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  kernels.exp2(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
  return y;
}

/// How many of the results are further from the exact value than the bound.
std::int64_t count_outside(const std::vector<float>& x, const std::vector<float>& y) {
  std::int64_t outside = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] < kernels::kExp2Zero) {
      outside += bits(y[i]) != 0 ? 1 : 0;
      continue;
    }
    const double exact = std::exp2(double{x[i]});
    outside += std::abs(double{y[i]} - exact) <= exp2_bound(exact) ? 0 : 1;
  }
  return outside;
}

/// Zeros, range limits, ties of the rounding to an integer, neighbours of every integer, infinities
/// and NaN.
std::vector<float> special_arguments() {
  std::vector<float> x{0.0f,
                       -0.0f,
                       kNaN,
                       -kNaN,
                       -kInfinity,
                       -std::numeric_limits<float>::max(),
                       -std::numeric_limits<float>::denorm_min(),
                       -std::numeric_limits<float>::min()};
  for (int n = 0; n <= 300; ++n) {
    const float at = -0.5f * static_cast<float>(n);
    x.insert(x.end(), {at, std::nextafter(at, -kInfinity), std::nextafter(at, 0.0f)});
  }
  return x;
}

}  // namespace

TEST_CASE("exp2 is within 2 ULP over every float in [-125, 0] and 0 down to -126, on every ISA") {
  constexpr std::uint32_t kFirst = 0x8000'0000u, kChunk = 1 << 16;
  const std::uint32_t stride = quick() ? 9973 : 1, count = bits(-126.0f) - kFirst + 1;
  REQUIRE(bits(-0.0f) == kFirst);
  std::atomic<std::int64_t> outside{0}, different{0};
  tbb::parallel_for(0u, count / stride / kChunk + 1, [&](std::uint32_t chunk) {
    std::vector<float> x;
    for (std::uint64_t n = std::uint64_t{chunk} * kChunk; n < (chunk + 1ull) * kChunk; ++n) {
      if (n * stride >= count) break;
      x.push_back(std::bit_cast<float>(kFirst + static_cast<std::uint32_t>(n) * stride));
    }
    if (x.empty()) return;
    const std::vector<float> y = exp2_of(dispatch::kernels_of(Isa::scalar), x);
    for (const Isa isa : available_isas()) {
      different += same_bits(exp2_of(dispatch::kernels_of(isa), x), y) ? 0 : 1;
    }
    // Above -2^-27, 2^x rounds to 1 and is within half a ULP of it: 0.8e9 floats need no libm.
    if (x.back() > -0x1p-27f) {
      outside += std::count_if(y.begin(), y.end(), [](float v) { return v != 1.0f; });
    } else {
      outside += count_outside(x, y);
    }
  });
  CHECK(outside == 0);
  CHECK(different == 0);
}

TEST_CASE("exp2 of 0 is exactly 1, of -inf 0, and of NaN NaN, on every ISA") {
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const std::vector<float> y =
        exp2_of(dispatch::kernels_of(isa), {0.0f, -0.0f, -kInfinity, kNaN, -125.0f});
    CHECK(y[0] == 1.0f);
    CHECK(y[1] == 1.0f);
    CHECK(bits(y[2]) == 0);
    CHECK(std::isnan(y[3]));
    CHECK(y[4] == 0x1p-125f);
  }
}

TEST_CASE("exp2 has the bits of the scalar statement on every ISA") {
  std::vector<float> x = special_arguments();
  Random random(7);
  for (int i = 0; i < (quick() ? 20'000 : 2'000'000); ++i) {
    x.push_back(-130.0f * std::abs(random.uniform()));
  }
  std::vector<float> want;
  for (const float value : x) want.push_back(reference::canonical(reference::exp2(value)));
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    std::vector<float> got = exp2_of(dispatch::kernels_of(isa), x);
    for (float& value : got) value = reference::canonical(value);  // an intermediate NaN is any NaN
    CHECK(same_bits(got, want));
  }
}

TEST_CASE("exp2 of any count writes exactly that many results") {
  const std::vector<float> x = normal_floats(100, 3);
  for (const Isa isa : available_isas()) {
    const kernels::KernelSet& kernels = dispatch::kernels_of(isa);
    for (std::size_t count = 0; count <= 70; ++count) {
      CAPTURE(isa_name(isa));
      CAPTURE(count);
      std::vector<float> argument(count);
      for (std::size_t i = 0; i < count; ++i) argument[i] = -std::abs(x[i]);
      std::vector<float> got(count + 1, 77.0f);
      kernels.exp2(argument.data(), got.data(), static_cast<std::int64_t>(count));
      std::vector<float> want(count + 1, 77.0f);
      std::transform(argument.begin(), argument.end(), want.begin(), reference::exp2);
      CHECK(same_bits(got, want));
    }
  }
}

TEST_CASE("the scalar statement's log2 is exact to the last bits of double") {
  for (const float l : {1.0f, 2.0f, 0x1p-125f, 1.5f, 0.7071067f, 0.70710677f, 3.14159f, 1e30f}) {
    CAPTURE(l);
    const double want = std::log2(double{l});
    // A dozen roundings of double around ln(f), and one of the sum with e.
    CHECK(std::abs(reference::log2(l) - want) <= 0x1p-53 * (12.0 + std::abs(want)));
  }
}

}  // namespace rapt::test
