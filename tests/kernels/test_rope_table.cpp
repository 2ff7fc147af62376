// RopeTable: its angles against long double and against published formulas, and wrong
// configurations.
#include "attention/fixed_problems.hpp"
#include "core/exact_math.hpp"
#include "rapt/rope.hpp"
#include "support/bounds.hpp"
#include "support/sentence_of.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <numbers>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

using Real = long double;
using Kind = RopeScaling::Kind;

constexpr Real kPi = std::numbers::pi_v<Real>;

Real plain_frequency(const RopeConfig& config, std::int64_t d) {
  return std::pow(static_cast<Real>(config.base),
                  -2.0L * static_cast<Real>(d) / static_cast<Real>(config.rotary_dims));
}

/// The frequency of pair d by the formulas that the models' authors published.
Real frequency(const RopeConfig& config, std::int64_t d) {
  const RopeScaling& s = config.scaling;
  const Real plain = plain_frequency(config, d);
  const auto dims = static_cast<Real>(config.rotary_dims);
  const Real factor = s.factor;
  const auto length = static_cast<Real>(s.original_positions);
  switch (s.kind) {
    case Kind::none:
      return plain;
    case Kind::linear:
      return plain / factor;
    case Kind::ntk:
      return std::pow(static_cast<Real>(config.base) * std::pow(factor, dims / (dims - 2)),
                      -2.0L * static_cast<Real>(d) / dims);
    case Kind::yarn: {
      const auto dim_of = [&](Real rotations) {
        return dims * std::log(length / (rotations * 2 * kPi)) /
               (2 * std::log(static_cast<Real>(config.base)));
      };
      const Real from = dim_of(s.beta_fast), to = dim_of(s.beta_slow);
      const Real low = std::max(s.truncate ? std::floor(from) : from, 0.0L);
      const Real high = std::min(s.truncate ? std::ceil(to) : to, dims - 1);
      const Real ramp = std::clamp((static_cast<Real>(d) - low) / (high - low), 0.0L, 1.0L);
      return plain / factor * ramp + plain * (1 - ramp);
    }
    case Kind::llama3: {
      const Real wavelength = 2 * kPi / plain;
      const Real low = s.low_freq_factor, high = s.high_freq_factor;
      if (wavelength < length / high) return plain;
      if (wavelength > length / low) return plain / factor;
      const Real smooth = (length / wavelength - low) / (high - low);
      return (1 - smooth) * plain / factor + smooth * plain;
    }
  }
  return 0;
}

Real length_of(const RopeScaling& s) {
  if (s.kind != Kind::yarn) return 1;
  return s.attention_factor ? static_cast<Real>(*s.attention_factor)
                            : 0.1L * std::log(static_cast<Real>(s.factor)) + 1;
}

std::vector<RopeConfig> configurations() {
  const std::int64_t positions = quick() ? 600 : 20'000;
  return {
      {.rotary_dims = 128, .positions = positions},
      {.rotary_dims = 2, .positions = 5},
      {.rotary_dims = 64, .positions = positions, .base = 500'000.0},
      {.rotary_dims = 96, .positions = positions, .scaling = {.kind = Kind::linear, .factor = 4.0}},
      {.rotary_dims = 128, .positions = positions, .scaling = {.kind = Kind::ntk, .factor = 8.0}},
      {.rotary_dims = 128,
       .positions = positions,
       .scaling = {.kind = Kind::yarn, .factor = 16.0, .original_positions = 4096}},
      {.rotary_dims = 64,
       .positions = positions,
       .scaling = {.kind = Kind::yarn,
                   .factor = 40.0,
                   .original_positions = 4096,
                   .attention_factor = 1.0}},
      {.rotary_dims = 128,
       .positions = positions,
       .base = 500'000.0,
       .scaling = {.kind = Kind::llama3, .factor = 8.0, .original_positions = 8192}},
  };
}

/// gpt-oss's scaling: YaRN without truncation of the ramp.
RopeConfig not_truncated(std::int64_t positions) {
  return {.rotary_dims = 64,
          .positions = positions,
          .base = 150'000.0,
          .scaling = {.kind = Kind::yarn,
                      .factor = 32.0,
                      .original_positions = 4096,
                      .beta_fast = 32.0,
                      .beta_slow = 1.0,
                      .truncate = false}};
}

}  // namespace

TEST_CASE("a RoPE table is within half a ULP of 1 of long double, with every scaling") {
  std::vector<RopeConfig> all = configurations();
  all.push_back(not_truncated(all.front().positions));
  // Few pairs and long texts: the ramp ends past the last pair.
  all.push_back({.rotary_dims = 8,
                 .positions = 600,
                 .scaling = {.kind = Kind::yarn, .factor = 4.0, .original_positions = 131'072}});
  for (const RopeConfig& config : all) {
    CAPTURE(static_cast<int>(config.scaling.kind));
    const RopeTable table(Rope::half, config);
    const RopeView view = table.view();
    const Real length = length_of(config.scaling);
    Real worst = 0;
    for (std::int64_t d = 0; d < config.rotary_dims / 2; ++d) {
      const Real step = frequency(config, d);
      for (std::int64_t p = 0; p < config.positions; p += p < 300 ? 1 : 37) {
        const Real angle = static_cast<Real>(p) * step;
        const Real bound = rope_table_bound(static_cast<double>(p), static_cast<double>(length));
        worst = std::max(worst, std::abs(view.cos(p, d) - length * std::cos(angle)) / bound);
        worst = std::max(worst, std::abs(view.sin(p, d) - length * std::sin(angle)) / bound);
      }
    }
    CHECK(worst <= 1);
    CHECK(worst > 0.5L);  // the bound is not wider than necessary
  }
}

TEST_CASE("YaRN without truncation has the frequencies of the published code") {
  // _compute_yarn_parameters() of transformers with gpt-oss's configuration, in float64.
  struct Pair {
    std::int64_t d;
    double frequency;
  };
  const std::vector<Pair> pairs{
      {0, 1.0},
      {8, 0.050813274815461475},  // the ramp starts at 8.09
      {9, 0.03170569618466377},
      {10, 0.019335001126540362},
      {12, 0.006794959489732219},
      {14, 0.0020937923789696887},
      {16, 0.00045648391922324086},
      {17, 0.00012931870124506317},
      {18, 3.8308812373753384e-05},  // and ends at 17.40
      {31, 3.0235114281192144e-07},
  };
  const double length = 1.3465735902799727;  // 0.1 ln 32 + 1
  const std::int64_t positions = quick() ? 1000 : 131'072;
  const RopeTable table(Rope::half, not_truncated(positions));
  const RopeTable rounded(Rope::half, [&] {
    RopeConfig config = not_truncated(positions);
    config.scaling.truncate = true;
    return config;
  }());
  for (const auto& pair : pairs) {
    const auto d = pair.d;
    const double frequency = pair.frequency;
    CAPTURE(d);
    for (const std::int64_t p : {std::int64_t{1}, std::int64_t{100}, positions - 1}) {
      const double angle = static_cast<double>(p) * frequency;
      const double bound = rope_table_bound(static_cast<double>(p), length);
      CHECK(std::abs(double{table.view().cos(p, d)} - length * std::cos(angle)) <= bound);
      CHECK(std::abs(double{table.view().sin(p, d)} - length * std::sin(angle)) <= bound);
    }
    const bool on_ramp = d > 8 && d < 18;
    CHECK((rounded.view().sin(100, d) != table.view().sin(100, d)) == on_ramp);
  }
}

TEST_CASE("large angles are reduced as exactly as small ones") {
  for (const double angle : {0.0, 0.5, 1.5707963267948966, 3.0, 1e3, 65535.0, 1048575.0, 1e9}) {
    for (const double sign : {1.0, -1.0}) {
      const auto [cos, sin] = core::exact_cos_sin(sign * angle);
      CHECK(std::abs(cos - std::cos(static_cast<Real>(sign * angle))) <= 0x1p-50L);
      CHECK(std::abs(sin - std::sin(static_cast<Real>(sign * angle))) <= 0x1p-50L);
    }
  }
  CHECK(core::exact_log2(8.0) == 3.0);
  CHECK(core::exact_exp2(-3.0) == 0.125);
  for (double x = 1.01; x < 1e12; x *= 1.37) {
    const Real log = std::log2(static_cast<Real>(x));
    CHECK(std::abs(core::exact_log2(x) - log) <= 0x1p-51L * std::max<Real>(1, log));
    const Real power = std::exp2(static_cast<Real>(-x / 1e10));
    CHECK(std::abs(core::exact_exp2(-x / 1e10) - power) <= 4 * 0x1p-53L * power);
  }
}

TEST_CASE("a RoPE table has the same bits on every machine") {
  std::uint64_t hash = 0;
  for (RopeConfig config : configurations()) {
    config.positions = 5;
    const RopeTable table(Rope::half, config);
    const auto size = static_cast<std::size_t>(5 * config.rotary_dims / 2);
    hash = hash * 31 + hash_bits({table.view().cos.data, size});
    hash = hash * 31 + hash_bits({table.view().sin.data, size});
  }
  CHECK(hash == 0x4fa3d6d46e85d836u);
}

TEST_CASE("a view stays valid when its table is moved, or destroyed while a copy exists") {
  auto first =
      std::make_unique<RopeTable>(Rope::interleaved, RopeConfig{.rotary_dims = 4, .positions = 3});
  const RopeView view = first->view();
  const RopeTable copy = *first;
  const RopeTable moved = std::move(*first);
  first.reset();
  CHECK(moved.view().cos.data == view.cos.data);
  CHECK(copy.view().cos(2, 1) == view.cos(2, 1));
  CHECK(moved.view().style == Rope::interleaved);
}

TEST_CASE("an invalid RoPE configuration is an error that names the field and its value") {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto check = [](const char* part, const std::function<void(RopeConfig&)>& spoil) {
    RopeConfig config{.rotary_dims = 8, .positions = 10};
    spoil(config);
    const std::string sentence = sentence_of([&] { const RopeTable table(Rope::half, config); });
    CHECK_MESSAGE(sentence.find(part) != std::string::npos, "\"", sentence, "\" lacks ", part);
  };
  check("rotary_dims: 7", [](RopeConfig& c) { c.rotary_dims = 7; });
  check("rotary_dims: 0", [](RopeConfig& c) { c.rotary_dims = 0; });
  check("positions: 0", [](RopeConfig& c) { c.positions = 0; });
  check("positions: 1073741825", [](RopeConfig& c) { c.positions = (1 << 30) + 1; });
  check("base: 1.0", [](RopeConfig& c) { c.base = 1.0; });
  check("base: nan", [](RopeConfig& c) { c.base = kNaN; });
  check("factor: 2.0", [](RopeConfig& c) { c.scaling.factor = 2.0; });
  check("factor: 0.5", [](RopeConfig& c) { c.scaling = {.kind = Kind::linear, .factor = 0.5}; });
  check("original_positions: 0", [](RopeConfig& c) { c.scaling.kind = Kind::yarn; });
  check("original_positions: 9", [](RopeConfig& c) {
    c.scaling = {.kind = Kind::linear, .factor = 2.0, .original_positions = 9};
  });
  check("attention_factor: 1.0", [](RopeConfig& c) { c.scaling.attention_factor = 1.0; });
  check("attention_factor: 0.0", [](RopeConfig& c) {
    c.scaling = {.kind = Kind::yarn, .original_positions = 9, .attention_factor = 0.0};
  });
  check("beta_fast 0.5", [](RopeConfig& c) {
    c.scaling = {.kind = Kind::yarn, .original_positions = 9, .beta_fast = 0.5};
  });
  check("truncate: false means nothing but for yarn", [](RopeConfig& c) {
    c.scaling = {.kind = Kind::linear, .factor = 2.0, .truncate = false};
  });
  check("truncate: false means nothing", [](RopeConfig& c) { c.scaling.truncate = false; });
  for (const double beta : {1e308, kInfinity, kNaN}) {
    check("and beta_fast", [&](RopeConfig& c) {
      c.scaling = {
          .kind = Kind::yarn, .original_positions = 9, .beta_fast = beta, .truncate = false};
    });
    check("beta_slow", [&](RopeConfig& c) {
      c.scaling = {
          .kind = Kind::yarn, .original_positions = 9, .beta_slow = beta, .truncate = false};
    });
  }
  check("high_freq_factor 1.0", [](RopeConfig& c) {
    c.scaling = {.kind = Kind::llama3, .original_positions = 9, .high_freq_factor = 1.0};
  });
  check("rotary_dims of at least 4", [](RopeConfig& c) {
    c.rotary_dims = 2;
    c.scaling = {.kind = Kind::ntk, .factor = 2.0};
  });
}

}  // namespace rapt::test
