// RopeTable: the angles of a model, scaled as it was trained, and their cos and sin.
#include "core/counted.hpp"
#include "core/default_arithmetic.hpp"
#include "core/exact_math.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "rapt/error.hpp"
#include "rapt/rope.hpp"

#include <cmath>
#include <cstddef>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rapt {
namespace {

using core::fail;
using Kind = RopeScaling::Kind;

constexpr double kTwoPi = 0x1.921fb54442d18p+2;
/// Below this position cos and sin are reduced exactly.
constexpr std::int64_t kMaxPositions = std::int64_t{1} << 30;
/// Bound on the turns by which a length is divided.
constexpr double kMaxTurns = 0x1p+100;

bool is_at_least(double x, double least) { return std::isfinite(x) && x >= least; }

void check_used_fields(const RopeScaling& s) {
  const bool needs_length = s.kind == Kind::yarn || s.kind == Kind::llama3;
  if (!is_at_least(s.factor, 1.0)) {
    fail("config.scaling.factor: " + std::to_string(s.factor) + " is not a number of at least 1");
  }
  if (s.kind == Kind::none && s.factor != 1.0) {
    fail("config.scaling.factor: " + std::to_string(s.factor) + " means nothing without a kind");
  }
  if (needs_length && s.original_positions < 1) {
    fail("config.scaling.original_positions: " + std::to_string(s.original_positions) +
         " is below 1");
  }
  if (!needs_length && s.original_positions != 0) {
    fail("config.scaling.original_positions: " + std::to_string(s.original_positions) +
         " means nothing but for yarn and llama3");
  }
  if (!s.truncate && s.kind != Kind::yarn) {
    fail("config.scaling.truncate: false means nothing but for yarn");
  }
  if (s.attention_factor && s.kind != Kind::yarn) {
    fail("config.scaling.attention_factor: " + std::to_string(*s.attention_factor) +
         " means nothing but for yarn");
  }
}

/// The base that replaces `base` in NTK-aware scaling.
double ntk_base(double base, double factor, std::int64_t rotary_dims) {
  const auto dims = static_cast<double>(rotary_dims);
  return base * core::exact_power(factor, dims / (dims - 2.0));
}

void check_ntk(const RopeConfig& config) {
  if (config.rotary_dims == 2) {
    fail("config.scaling: ntk needs rotary_dims of at least 4, not 2");
  }
  if (std::isfinite(ntk_base(config.base, config.scaling.factor, config.rotary_dims))) return;
  fail("config.scaling.factor: " + std::to_string(config.scaling.factor) + " with base " +
       std::to_string(config.base) + " makes a base beyond all numbers");
}

void check_kind(Kind kind) {
  for (const Kind known : {Kind::none, Kind::linear, Kind::ntk, Kind::yarn, Kind::llama3}) {
    if (kind == known) return;
  }
  fail("config.scaling.kind: " + std::to_string(static_cast<int>(kind)) + " is none of them");
}

void check_scaling(const RopeConfig& config) {
  const RopeScaling& s = config.scaling;
  check_kind(s.kind);
  check_used_fields(s);
  if (s.kind == Kind::ntk) check_ntk(config);
  if (s.kind == Kind::yarn && !(is_at_least(s.beta_slow, 0x1p-20) && s.beta_fast > s.beta_slow &&
                                s.beta_fast <= kMaxTurns)) {
    fail("config.scaling: beta_slow " + std::to_string(s.beta_slow) + " and beta_fast " +
         std::to_string(s.beta_fast) +
         " are not two ascending numbers of at least 2^-20 and at most 2^100");
  }
  if (s.attention_factor &&
      !(is_at_least(*s.attention_factor, 0x1p-100) && *s.attention_factor <= 0x1p100)) {
    fail("config.scaling.attention_factor: " + std::to_string(*s.attention_factor) +
         " is not a number above 0 and at most 2^100");
  }
  if (s.kind == Kind::llama3 &&
      !(is_at_least(s.low_freq_factor, 0x1p-20) && s.high_freq_factor > s.low_freq_factor &&
        std::isfinite(s.high_freq_factor))) {
    fail("config.scaling: low_freq_factor " + std::to_string(s.low_freq_factor) +
         " and high_freq_factor " + std::to_string(s.high_freq_factor) +
         " are not two ascending numbers above 0");
  }
}

void check_config(const RopeConfig& config) {
  if (config.rotary_dims < 2 || config.rotary_dims % 2 != 0) {
    fail("config.rotary_dims: " + std::to_string(config.rotary_dims) +
         " is not an even number above 0");
  }
  if (config.positions < 1 || config.positions > kMaxPositions) {
    fail("config.positions: " + std::to_string(config.positions) + " is not within 1 and 2^30");
  }
  if (!is_at_least(config.base, 1.0) || config.base == 1.0) {
    fail("config.base: " + std::to_string(config.base) + " is not a number above 1");
  }
  check_scaling(config);
}

double frequency(double base, std::int64_t d, std::int64_t rotary_dims) {
  return core::exact_power(base, -2.0 * static_cast<double>(d) / static_cast<double>(rotary_dims));
}

/// The share of frequency_d that YaRN leaves unscaled: 1 for pairs that turn often, 0 for those
/// that turn rarely.
double yarn_share(const RopeConfig& config, std::int64_t d) {
  const RopeScaling& s = config.scaling;
  const auto dims = static_cast<double>(config.rotary_dims);
  const auto pair_with_turns = [&](double times) {
    const double period = static_cast<double>(s.original_positions) / (times * kTwoPi);
    return dims * core::exact_log(period) / (2.0 * core::exact_log(config.base));
  };
  double first = pair_with_turns(s.beta_fast), last = pair_with_turns(s.beta_slow);
  if (s.truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::fmax(first, 0.0);
  last = std::fmin(last, dims - 1.0);
  if (first == last) last += 0.001;  // as published: a ramp of nonzero length
  const double ramp = (static_cast<double>(d) - first) / (last - first);
  return 1.0 - std::fmin(std::fmax(ramp, 0.0), 1.0);
}

double llama3_share(const RopeConfig& config, double plain) {
  const RopeScaling& s = config.scaling;
  const double turns = static_cast<double>(s.original_positions) * plain / kTwoPi;
  if (turns < s.low_freq_factor) return 0.0;
  if (turns > s.high_freq_factor) return 1.0;
  return (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
}

/// The factor of position p in the angle of pair d.
double scaled_frequency(const RopeConfig& config, std::int64_t d) {
  const RopeScaling& s = config.scaling;
  if (s.kind == Kind::ntk) {
    return frequency(ntk_base(config.base, s.factor, config.rotary_dims), d, config.rotary_dims);
  }
  const double plain = frequency(config.base, d, config.rotary_dims);
  double share = s.kind == Kind::linear ? 0.0 : 1.0;
  if (s.kind == Kind::yarn) share = yarn_share(config, d);
  if (s.kind == Kind::llama3) share = llama3_share(config, plain);
  return plain / s.factor * (1.0 - share) + plain * share;
}

double magnitude(const RopeScaling& s) {
  if (s.kind != Kind::yarn) return 1.0;
  return s.attention_factor ? *s.attention_factor : 0.1 * core::exact_log(s.factor) + 1.0;
}

}  // namespace

struct RopeTable::Rows {
  std::vector<float> cos, sin;  // [positions, rotary_dims / 2]
};

RopeTable::RopeTable(Rope style, const RopeConfig& config) try : style_(style), config_(config) {
  if (style != Rope::half && style != Rope::interleaved) {
    fail("style: " + std::to_string(static_cast<int>(style)) + " is neither half nor interleaved");
  }
  const core::DefaultArithmetic mode;
  check_config(config);
  const std::int64_t pairs = config.rotary_dims / 2;
  const double length = magnitude(config.scaling);
  std::int64_t floats = 0;
  if (__builtin_mul_overflow(config.positions, pairs, &floats)) floats = INT64_MAX;
  std::shared_ptr<Rows> rows;
  try {
    rows = std::make_shared<Rows>();
    rows->cos.resize(static_cast<std::size_t>(floats));
    rows->sin.resize(static_cast<std::size_t>(floats));
  } catch (const std::exception&) {  // bad_alloc or length_error
    throw Error(ErrorCode::out_of_memory, "config: no memory for " +
                                              core::counted(config.positions, "position") + " of " +
                                              core::counted(pairs, "pair"));
  }
  for (std::int64_t d = 0; d < pairs; ++d) {
    const double step = scaled_frequency(config, d);
    for (std::int64_t p = 0; p < config.positions; ++p) {
      const auto [cos, sin] = core::exact_cos_sin(static_cast<double>(p) * step);
      const auto at = static_cast<std::size_t>(p * pairs + d);
      rows->cos[at] = static_cast<float>(cos * length);
      rows->sin[at] = static_cast<float>(sin * length);
    }
  }
  rows_ = std::move(rows);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

RopeView RopeTable::view() const {
  if (rows_ == nullptr)
    throw Error(ErrorCode::invalid_argument, SentenceLiteral("table: was moved from"));
  const std::array shape{config_.positions, config_.rotary_dims / 2};
  return {style_, {rows_->cos.data(), shape}, {rows_->sin.data(), shape}};
}

}  // namespace rapt
