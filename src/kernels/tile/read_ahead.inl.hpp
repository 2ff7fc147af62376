// What register tiles prefetch of their right-hand factors on the decode path.
#pragma once

#include "kernels/abi/tuning.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Floats of a cache line.
constexpr std::int64_t kLineFloats = 16;

/// The read-ahead policy of a register tile that does not read ahead. Policies are the last
/// argument of multiply_tile().
struct NoReadAhead {
  /// One step: reads ahead for the next C vectors.
  template <int C>
  RAPT_INLINE void step() {}
  /// kLanes steps, before the first of them.
  RAPT_INLINE void chunk() {}
};

/// The read-ahead of panels that are read once and in order, on the decode path: each step of a
/// tile prefetches as much as it reads, some KiB ahead, in one ascending stream for any width of
/// the tile. The data is in L1 when it is used, in any order.
template <class T>
class PanelsAhead {
 public:
  /// For the column tile at `tile`, which starts `column` columns into its panel of `depth` steps.
  /// distance: in floats, for any T.
  static RAPT_INLINE PanelsAhead of(const T* tile, std::int64_t column, std::int64_t depth,
                                    std::int64_t distance) {
    constexpr std::int64_t per_float = sizeof(float) / sizeof(T);
    return PanelsAhead(tile - column + distance * per_float + column * depth);
  }
  template <int C>
  RAPT_INLINE void step() {
    constexpr int kLine = kLineFloats * sizeof(float) / sizeof(T);
    RAPT_UNROLL for (int i = 0; i < C * kVecLanes; i += kLine) {
      __builtin_prefetch(next_ + i, 0, 3);
    }
    next_ += C * kVecLanes;
  }
  RAPT_INLINE void chunk() {}

 private:
  explicit PanelsAhead(const T* next) : next_(next) {}
  const T* next_;
};

/// The read-ahead of rows in place: rows of `width` floats, `stride` apart, line by line in address
/// order; or nothing at all. A prefetch is no access: it may pass the end of the last row.
class RowsAhead {
 public:
  RowsAhead() = default;
  RowsAhead(const float* first, std::int64_t width, std::int64_t stride)
      : next_(first), left_(width), width_(width), stride_(stride) {}

  template <int C>
  RAPT_INLINE void step() {
    lines<(C * kVecLanes + kLineFloats - 1) / kLineFloats>();
  }

  RAPT_INLINE void chunk() {}

  template <int N>
  RAPT_INLINE void lines() {
    if constexpr (kVecLanes == 1) return;  // arithmetic bounds it
    const float* const first = take<N>(nullptr);
    if (first == nullptr) return;
    RAPT_UNROLL for (int i = 0; i < N; ++i) __builtin_prefetch(first + i * kLineFloats, 0, 3);
  }

  /// The first of the next N lines, for a caller that prefetches them itself; `none` if nothing is
  /// to be prefetched.
  template <int N>
  RAPT_INLINE const float* take(const float* none) {
    if (left_ <= 0) {
      if (width_ == 0) return none;
      next_ += stride_ - width_ + left_;
      left_ = width_;
    }
    const float* const first = next_;
    next_ += N * kLineFloats;
    left_ -= N * kLineFloats;
    return first;
  }

 private:
  const float* next_ = nullptr;
  std::int64_t left_ = 0, width_ = 0, stride_ = 0;
};

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
