// bfloat16 and float16: every pattern and the borders of rounding by a second statement, and the
// kernels that convert rows on every ISA.
#include "kernels/kernel_sets.hpp"
#include "rapt/dtype.hpp"
#include "support/problems.hpp"
#include "support/rounding.hpp"
#include "support/typed.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr DType kTypes[] = {DType::bf16, DType::f16};

kernels::ElementType element_type(DType type) {
  return type == DType::bf16 ? kernels::ElementType::bf16 : kernels::ElementType::f16;
}

std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }

bool is_nan(std::uint16_t bits, const Patterns& patterns) {
  return (bits & 0x7fffu) > patterns.infinity();
}

/// Every finite pattern of both signs, the middle between it and the next one, and the floats right
/// beside both; and NaNs.
std::vector<float> border_floats(const Patterns& patterns) {
  std::vector<float> floats;
  for (std::uint32_t bits = 0; bits <= patterns.infinity(); ++bits) {
    const double value = patterns.value(bits);
    const double next = bits < patterns.infinity() ? patterns.value(bits + 1) : value;
    for (const double border : {value, value + (next - value) / 2}) {
      const auto x = static_cast<float>(border);
      for (const float y : {x, std::nextafter(x, 0.0f), std::nextafter(x, kInfinity)}) {
        floats.push_back(y);
        floats.push_back(-y);
      }
    }
  }
  for (const std::uint32_t nan : {0x7f800001u, 0x7fc00000u, 0xffc00000u, 0xffffffffu, 0x7f801fffu,
                                  0x7fa00000u, 0x7fffffffu, 0xff800001u, 0x7f80ffffu}) {
    floats.push_back(std::bit_cast<float>(nan));
  }
  return floats;
}

std::uint16_t stated_bits(float x, const Patterns& patterns) {
  if (std::isnan(x)) return patterns.nan();
  const std::uint32_t sign = bits_of(x) >> 16 & 0x8000u;
  return static_cast<std::uint16_t>(sign | patterns.nearest(std::fabs(double{x})));
}

}  // namespace

TEST_CASE("all 65,536 patterns of bf16 and f16 have the values of the formula") {
  for (const DType type : kTypes) {
    CAPTURE(dtype_name(type));
    const Patterns patterns(type);
    int wrong = 0;
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const auto pattern = static_cast<std::uint16_t>(bits);
      const float x = widened_bits(pattern, type);
      const std::uint32_t magnitude = bits & 0x7fffu;
      if (magnitude > patterns.infinity()) {
        // The payload is that of the pattern, in the first bits.
        const std::uint32_t payload = magnitude << (23 - patterns.fraction_bits) & 0x7fffffu;
        wrong += bits_of(x) != ((bits & 0x8000u) << 16 | 0x7f800000u | payload) ? 1 : 0;
        continue;
      }
      const double value =
          magnitude == patterns.infinity() ? double{kInfinity} : patterns.value(magnitude);
      wrong += std::fabs(double{x}) != value || std::signbit(x) != (bits >= 0x8000) ? 1 : 0;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("floats are rounded to the nearest bf16 and f16, at every border, ties to even") {
  for (const DType type : kTypes) {
    CAPTURE(dtype_name(type));
    const Patterns patterns(type);
    int wrong = 0;
    for (const float x : border_floats(patterns)) {
      wrong += narrow_bits(x, type) != stated_bits(x, patterns) ? 1 : 0;
    }
    CHECK(wrong == 0);
  }
  CHECK(float16(65519.996f).bits == 0x7bff);
  CHECK(float16(65520.0f).bits == 0x7c00);
  CHECK(float16(-0x1p-25f).bits == 0x8000);
  CHECK(float16(0x1.000002p-25f).bits == 1);
  CHECK(bfloat16(0x1.01p0f).bits == 0x3f80);
  CHECK(bfloat16(std::numeric_limits<float>::max()).bits == 0x7f80);
  CHECK(bfloat16(-0x1p-149f).bits == 0x8000);
}

TEST_CASE("a number of bf16 or f16 is rounded to itself") {
  for (const DType type : kTypes) {
    const Patterns patterns(type);
    int wrong = 0;
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const auto pattern = static_cast<std::uint16_t>(bits);
      const std::uint16_t want = is_nan(pattern, patterns) ? patterns.nan() : pattern;
      wrong += narrow_bits(widened_bits(pattern, type), type) != want ? 1 : 0;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("every ISA widens all 65,536 patterns alike, and numbers as the types do") {
  for (const DType type : kTypes) {
    CAPTURE(dtype_name(type));
    const Patterns patterns(type);
    std::vector<std::uint16_t> from(0x10000);
    for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::uint16_t>(i);
    std::vector<float> first;
    on_every_kernel_set([&](const kernels::KernelSet& kernels) {
      std::vector<float> to(from.size());
      kernels.widen({from.data(), 0, to.data(), 0, 1, 0x10000, element_type(type)});
      int wrong = 0;
      for (std::size_t i = 0; i < from.size(); ++i) {
        const float x = widened_bits(from[i], type);
        wrong += is_nan(from[i], patterns) ? !std::isnan(to[i]) : bits_of(to[i]) != bits_of(x);
      }
      CHECK(wrong == 0);
      if (first.empty()) first = to;
      CHECK(same_bits(to, first));
    });
  }
}

TEST_CASE("every ISA rounds as the types do, at every border") {
  for (const DType type : kTypes) {
    CAPTURE(dtype_name(type));
    const std::vector<float> from = border_floats(Patterns(type));
    on_every_kernel_set([&](const kernels::KernelSet& kernels) {
      std::vector<std::uint16_t> to(from.size());
      kernels.narrow({from.data(), 0, to.data(), 0, 1, std::ssize(from), element_type(type)});
      int wrong = 0;
      for (std::size_t i = 0; i < from.size(); ++i) {
        wrong += to[i] != narrow_bits(from[i], type) ? 1 : 0;
      }
      CHECK(wrong == 0);
    });
  }
}

TEST_CASE("rows of every length are converted between inaccessible pages, at odd multiples") {
  using Floats = GuardedBuffer<float>::At;
  using Halves = GuardedBuffer<std::uint16_t>::At;
  for (const DType type : kTypes) {
    CAPTURE(dtype_name(type));
    on_every_kernel_set([&](const kernels::KernelSet& kernels) {
      for (std::int64_t width = 1; width < 70; ++width) {
        CAPTURE(width);
        const std::int64_t stride = width + 3, rows = 3, count = 2 * stride + width;
        const std::vector<float> numbers = normal_floats(index(count), 5);
        for (const bool at_end : {false, true}) {
          const GuardedBuffer<std::uint16_t> from(index(count),
                                                  at_end ? Halves::end : Halves::start);
          const GuardedOperand to(count, at_end ? Floats::end : Floats::start, kUnwritten);
          for (std::int64_t i = 0; i < count; ++i) {
            from.data()[i] = narrow_bits(numbers[index(i)], type);
          }
          kernels.widen({from.data(), stride, to.data(), stride, rows, width, element_type(type)});
          for (std::int64_t i = 0; i < count; ++i) {
            const float want = i % stride < width ? widened_bits(from.data()[i], type) : kUnwritten;
            CHECK(bits_of(to[i]) == bits_of(want));
          }
          for (std::int64_t i = 0; i < count; ++i) {
            to[i] = numbers[index(i)];
            from.data()[i] = 0x1234;
          }
          kernels.narrow({to.data(), stride, from.data(), stride, rows, width, element_type(type)});
          for (std::int64_t i = 0; i < count; ++i) {
            const std::uint16_t want = i % stride < width ? narrow_bits(to[i], type) : 0x1234;
            CHECK(from.data()[i] == want);
          }
        }
      }
    });
  }
}

}  // namespace rapt::test
