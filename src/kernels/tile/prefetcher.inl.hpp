// Prefetching into L2, a few cache lines per register tile, while the tiles compute.
#pragma once

#include "kernels/tile/element.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Rows of memory, each of `lines` cache lines: row r starts at base + (r / group) * stride + (r %
/// group) * group_stride bytes.
struct MemoryRows {
  const char* base;
  std::int64_t rows;
  std::int64_t lines;
  std::int64_t stride;
  std::int64_t group, group_stride;
  bool written;
};

constexpr std::int64_t kLineBytes = 64;

/// A queue of memory rows, prefetched line by line.
class Prefetcher {
 public:
  /// Width and strides are in elements.
  void add(const void* base, ElementType type, std::int64_t rows, std::int64_t width,
           std::int64_t stride, std::int64_t group = 1, std::int64_t group_stride = 0,
           bool written = false) {
    add_bytes(base, rows, width * size_of(type), stride * size_of(type), group,
              group_stride * size_of(type), written);
  }

  /// Width and strides are in bytes.
  void add_bytes(const void* base, std::int64_t rows, std::int64_t width, std::int64_t stride,
                 std::int64_t group, std::int64_t group_stride, bool written) {
    if (rows <= 0 || width <= 0) return;
    if (group == 1 && stride == width) {  // dense: one long row
      width *= rows;
      rows = 1;
    }
    const std::int64_t lines = (width + kLineBytes - 1) / kLineBytes;
    const char* const first = static_cast<const char*>(base);
    queue_[count_] = {first, rows, lines, stride, group, group_stride, written};
    if (count_++ == at_) start_rows();
    left_ += rows * lines;
  }

  /// Spreads the queue over `steps` calls of step().
  void spread_over(std::int64_t steps) { per_step_ = steps > 0 ? (left_ + steps - 1) / steps : 0; }

  RAPT_INLINE void step() {
    std::int64_t count = per_step_ < left_ ? per_step_ : left_;
    left_ -= count;
    while (count > 0) {
      const std::int64_t run = count < row_left_ ? count : row_left_;
      const char* line = line_;
      const char* const end = line + run * kLineBytes;
      if (queue_[at_].written) {
        for (; line != end; line += kLineBytes) __builtin_prefetch(line, 1, 3);
      } else {
        for (; line != end; line += kLineBytes) __builtin_prefetch(line, 0, 2);
      }
      line_ = end;
      count -= run;
      row_left_ -= run;
      if (row_left_ == 0) next_row();
    }
  }

 private:
  void next_row() {
    const MemoryRows& rows = queue_[at_];
    if (++row_ == rows.rows) {
      if (++at_ < count_) start_rows();
      return;
    }
    if (++in_group_ < rows.group) {
      row_start_ += rows.group_stride;
    } else {
      in_group_ = 0;
      row_start_ += rows.stride - (rows.group - 1) * rows.group_stride;
    }
    line_ = row_start_;
    row_left_ = rows.lines;
  }

  void start_rows() {
    row_ = in_group_ = 0;
    line_ = row_start_ = queue_[at_].base;
    row_left_ = queue_[at_].lines;
  }

  // The next item's q, k and v, and this item's out; k and v may be in pages, at most 9 per block.
  MemoryRows queue_[20];
  int count_ = 0, at_ = 0;
  std::int64_t row_ = 0, in_group_ = 0, row_left_ = 0, left_ = 0, per_step_ = 0;
  const char *row_start_ = nullptr, *line_ = nullptr;
};

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
