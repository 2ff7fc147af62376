// Operands and results of one kernel, each between inaccessible memory pages: an access beyond them
// crashes, and one within them that is none of the kernel's business shows in a result.
#pragma once

#include "core/random.hpp"
#include "core/same_bits.hpp"
#include "support/guarded_buffer.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <vector>

namespace rapt::test {

/// Between the elements of an operand: a result that depends on it is NaN.
constexpr float kUnread = std::numeric_limits<float>::quiet_NaN();
/// Between the elements of a result, and in all of it before: an ordinary number, as arithmetic
/// would leave a NaN unchanged.
constexpr float kUnwritten = 0x1.2bcdeap-20f;

class GuardedOperand : public GuardedBuffer<float> {
 public:
  GuardedOperand(std::int64_t count, At at, float everywhere)
      : GuardedBuffer<float>(static_cast<std::size_t>(count), at) {
    std::fill(begin(), end(), everywhere);
  }
  float& operator[](std::int64_t i) const { return data()[i]; }
  std::vector<float> copy() const { return {begin(), end()}; }
};

/// The first element that has not the bits of `want`, where any NaN is as good as another; or -1.
inline std::int64_t first_wrong(const GuardedOperand& got, const std::vector<float>& want) {
  if (got.end() - got.begin() != std::ssize(want)) return 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const float x = got.data()[i], y = want[i];
    if (std::isnan(x) && std::isnan(y)) continue;
    if (!same_bits({&x, 1}, {&y, 1})) return static_cast<std::int64_t>(i);
  }
  return -1;
}

/// Which numbers an operand holds.
enum class Numbers {
  normal,
  tiny,     ///< subnormal themselves or in a product, and zeros of both signs
  huge,     ///< some whose products overflow
  special,  ///< a few infinities and NaNs
};

/// Random numbers, sizes and memory for one check of a kernel.
class OperandDraws : public Random {
 public:
  using At = GuardedOperand::At;
  OperandDraws(std::uint64_t seed, At at) : Random(seed), at_(at) {}

  /// In [least, most].
  std::int64_t between(std::int64_t least, std::int64_t most) {
    return least + below(most - least + 1);
  }
  /// Something between one row and the next, or nothing.
  std::int64_t gap() { return below(2) == 0 ? 0 : between(1, 70); }

  /// Normal ones half of the time.
  Numbers numbers() { return below(2) == 0 ? Numbers::normal : static_cast<Numbers>(below(4)); }

  float number(Numbers kind) {
    const float x = normal();
    const std::int64_t chance = kind == Numbers::normal ? 0 : below(256);
    if (kind == Numbers::tiny) {
      if (chance < 32) return std::copysign(0.0f, x);
      return chance < 96 ? x * 0x1p-130f : x * 0x1p-70f;
    }
    if (kind == Numbers::huge) return chance < 32 ? x * 0x1p+125f : x;
    if (kind == Numbers::special && chance < 2) {
      return chance == 0 ? std::numeric_limits<float>::quiet_NaN()
                         : std::copysign(std::numeric_limits<float>::infinity(), x);
    }
    return x;
  }

  GuardedOperand operand(std::int64_t count) { return {count, at_, kUnread}; }
  GuardedOperand result(std::int64_t count) { return {count, at_, kUnwritten}; }

  /// Rows of `columns` numbers, a stride apart; the last one ends the memory.
  GuardedOperand rows(std::int64_t count, std::int64_t columns, std::int64_t stride) {
    GuardedOperand made = operand((count - 1) * stride + columns);
    const Numbers kind = numbers();
    for (std::int64_t r = 0; r < count; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) made[r * stride + c] = number(kind);
    }
    return made;
  }

 private:
  At at_;
};

}  // namespace rapt::test
