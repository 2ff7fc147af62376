// Weighted values of one key block, folded into the running output: o = fma(o, a, (sum_j p_j v_j) *
// b).
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/tile/element.inl.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// The factors by which the rows of a tile fold their block into the running output.
struct FoldInto {
  const float* a;  // per row
  const float* b;
  float* o;
  std::int64_t o_stride;
};

/// Folds the tile into the running output at column c.
template <int R, int C>
RAPT_INLINE void fold_tile(const FoldInto& fold, std::int64_t c, Vec (&acc)[R][C]) {
  RAPT_UNROLL for (int r = 0; r < R; ++r) {
    const Vec a(fold.a[r]), b(fold.b[r]);
    RAPT_UNROLL for (int i = 0; i < C; ++i) {
      float* to = fold.o + r * fold.o_stride + c + i * kVecLanes;
      store(to, fma(load(to), a, acc[r][i] * b));
    }
  }
}

/// The destination of a tile's sums if its block is the only one: the results.
struct DirectTile {
  void* const* out = nullptr;  // per row; null if the sums are folded instead
  ElementType type = ElementType::f32;
  std::int64_t column = 0;         // of out
  const float* inverse = nullptr;  // 1 / l per row
  float* largest = nullptr;        // a vector that collects the magnitudes of the results
};

/// Rows of a tile, `columns` floats each, rounded to the type of the results. Out of line, with the
/// tile in memory: next to the loop of multiply-adds it would cost registers there.
RAPT_NOINLINE inline void narrow_tile(const float* tile, std::int64_t rows, std::int64_t columns,
                                      const DirectTile& direct) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* const row = tile + r * columns;
    void* const to = element_at(direct.out[r], direct.type, direct.column);
    if (direct.type == ElementType::bf16) {
      narrow(row, columns, static_cast<Bf16*>(to));
    } else {
      narrow(row, columns, static_cast<F16*>(to));
    }
  }
}

/// out = fma(acc b, 1 / l, 0), as fold_tile() and finish_out() compute it from a running state
/// without keys.
template <int R, int C>
RAPT_INLINE void write_tile(const float* b, const DirectTile& direct, Vec (&acc)[R][C]) {
  constexpr int columns = C * kVecLanes;
  float wide[R * columns];
  const bool narrows = direct.type != ElementType::f32;
  Vec largest = load(direct.largest);
  RAPT_UNROLL for (int r = 0; r < R; ++r) {
    const Vec weight(b[r]), inverse(direct.inverse[r]);
    float* to = wide + r * columns;
    if (!narrows) to = static_cast<float*>(direct.out[r]) + direct.column;
    RAPT_UNROLL for (int i = 0; i < C; ++i) {
      const Vec y = fma(acc[r][i] * weight, inverse, Vec(0.0f));
      store(to + i * kVecLanes, y);
      largest = max_magnitude(absolute(y), largest);
    }
  }
  store(direct.largest, largest);
  if (narrows) narrow_tile(wide, R, columns, direct);
}

/// Keys of a block whose values have one stride: those of a page, or all of them.
struct ValuePiece {
  const float* v;  // the first panel of columns at the first of the keys
  std::int64_t begin, end;
};

template <int R>
struct ValueTile {
  /// p: the row tile's weights. pieces: `count` of them, ascending; each chain of multiply-adds
  /// runs over all of them. at: offset of the column tile in a piece's v.
  RAPT_NOINLINE static void run(const float* p, const ValuePiece* pieces, std::int64_t count,
                                std::int64_t at, std::int64_t v_stride, const FoldInto& fold,
                                const DirectTile& direct) {
    Vec acc[R][kVectors];
    clear(acc);
    for (const ValuePiece* piece = pieces; piece != pieces + count; ++piece) {
      multiply_tile(p, piece->v + at, v_stride, piece->begin, piece->end, acc);
    }
    if (direct.out != nullptr) return write_tile(fold.b, direct, acc);
    fold_tile<R, kVectors>(fold, 0, acc);
  }
};

/// The first row of a tile alone, without the keys whose weight is -0: those that do not exist for
/// the row, whatever their values hold. The slow path of rows that would be NaN (attend.cpp).
inline void values_of_existing_keys(const float* p, const float* v, std::int64_t v_stride,
                                    std::int64_t panel_stride, std::int64_t first,
                                    std::int64_t last, std::int64_t columns, const FoldInto& fold) {
  for (std::int64_t c = 0; c < columns; c += kVecLanes) {
    const float* column = v + c / kPanel * panel_stride + c % kPanel;
    Vec acc(0.0f);
    for (std::int64_t j = first; j < last; ++j) {
      const float weight = p[j / kLanes * kTileChunk + j % kLanes];
      if (__builtin_bit_cast(std::uint32_t, weight) == 0x80000000u) continue;
      acc = fma(Vec(weight), load(column + (j - first) * v_stride), acc);
    }
    store(fold.o + c, fma(load(fold.o + c), Vec(fold.a[0]), acc * Vec(fold.b[0])));
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
