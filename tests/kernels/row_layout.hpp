// Rows that are not adjacent in memory, for tests of functions of rows.
#pragma once

#include "rapt/tensor.hpp"
#include "support/problems.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rapt::test {

/// What an element between rows holds, which no function of rows may write.
inline constexpr float kUntouched = 77.0f;

/// Widths around vectors and lanes.
inline const std::vector<std::int64_t> kRowWidths{1,  2,  3,  7,  8,  9,   15,  16,  17,  31,
                                                  32, 33, 63, 64, 80, 127, 128, 300, 1024};

/// Random rows of `width` numbers, kGap floats apart.
struct SpacedRows {
  static constexpr std::int64_t kGap = 5;

  SpacedRows(std::int64_t rows_, std::int64_t width_, std::uint64_t seed)
      : rows(rows_),
        width(width_),
        x(normal_floats(static_cast<std::size_t>(rows_ * (width_ + kGap)), seed)) {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t gap = 0; gap < kGap; ++gap) x[at(i, width + gap)] = kUntouched;
    }
  }

  std::size_t at(std::int64_t row, std::int64_t d) const {
    return static_cast<std::size_t>(row * (width + kGap) + d);
  }
  TensorView<float, 2> view(std::vector<float>& storage) const {
    return {storage.data(), {rows, width}, {width + kGap, 1}};
  }
  std::span<const float> row(std::int64_t i) const {
    return std::span(x).subspan(at(i, 0), static_cast<std::size_t>(width));
  }
  /// Storage of the same layout, not yet written.
  std::vector<float> unwritten() const { return std::vector<float>(x.size(), kUntouched); }

  std::int64_t rows, width;
  std::vector<float> x;
};

}  // namespace rapt::test
