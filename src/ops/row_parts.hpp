// Functions of single rows: dividing the rows of [batch, heads, tokens, width] into items.
#pragma once

#include "core/tuning.hpp"
#include "dispatch/tuning.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace rapt {

/// Tokens [begin, end) of one head.
struct RowPart {
  std::int64_t batch, head;
  std::int64_t begin, end;
};

/// The first row of a part, in elements from the first of the tensor.
inline std::int64_t row_offset(const std::array<std::int64_t, 4>& strides, const RowPart& part) {
  return part.batch * strides[0] + part.head * strides[1] + part.begin * strides[2];
}

/// Calls run(part) for all rows of `shape`, none of whose extents is 0; in parallel if there are
/// enough to be worth waking a thread.
template <class F>
void for_row_parts(const std::array<std::int64_t, 4>& shape, const F& run) {
  using tuning::kPartTokens;
  const std::int64_t heads = shape[1], tokens = shape[2];
  const std::int64_t parts = (tokens + kPartTokens - 1) / kPartTokens;
  const double work =
      static_cast<double>(shape[0] * heads * tokens) * static_cast<double>(shape[3]);
  const bool shared = dispatch::call_tuning().wakes_threads(work);
  for_items(shape[0] * heads * parts, shared, [&](std::int64_t item) {
    const std::int64_t begin = item % parts * kPartTokens;
    run(RowPart{item / parts / heads, item / parts % heads, begin,
                std::min(begin + kPartTokens, tokens)});
  });
}

}  // namespace rapt
