// Weighted values of a decode-sized item from rows of V in place, some vectors of columns at a time
// for all rows of queries.
#pragma once

#include "kernels/abi/stream.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"
#include "kernels/tile/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Vectors of columns whose sums stay in registers. With 2 and 3 rows no register is left for a
/// column: g++ takes it from memory for each row.
constexpr int part_vectors(int rows) {
  if (kRegisters == 32) return rows == 1 ? 16 : rows <= 3 ? 8 : rows <= 6 ? 4 : 3;
  return rows == 1 ? 8 : rows == 2 ? 6 : rows == 3 ? 4 : rows == 4 ? 3 : 2;
}

/// Columns [c, c + C vectors).
template <int R, int C>
RAPT_INLINE void add_columns(const ValueRowsArgs& args, RowsAhead& ahead, std::int64_t c) {
  float* const sums = args.sums + R * c;
  Vec acc[R][C];
  clear(acc);
  if (!args.starts) {
    RAPT_UNROLL for (int r = 0; r < R; ++r) {
      RAPT_UNROLL for (int i = 0; i < C; ++i) acc[r][i] = load(sums + (r * C + i) * kVecLanes);
    }
  }
  multiply_tile(args.p, args.v + c, args.v_stride, args.begin, args.end, acc, ahead);
  if (args.ends) return fold_tile<R, C>({args.a, args.b, args.o, args.o_stride}, c, acc);
  RAPT_UNROLL for (int r = 0; r < R; ++r) {
    RAPT_UNROLL for (int i = 0; i < C; ++i) store(sums + (r * C + i) * kVecLanes, acc[r][i]);
  }
}

/// The last `vectors` vectors of columns, up to C.
template <int R, int C>
RAPT_INLINE void add_last_columns(const ValueRowsArgs& args, RowsAhead& ahead, std::int64_t c,
                                  std::int64_t vectors) {
  if constexpr (C > 0) {
    if (vectors == C) return add_columns<R, C>(args, ahead, c);
    add_last_columns<R, C - 1>(args, ahead, c, vectors);
  }
}

template <int R>
struct ValueRowSums {
  RAPT_NOINLINE static void run(const ValueRowsArgs& args, RowsAhead& ahead) {
    constexpr int C = part_vectors(R);
    RowsAhead next = ahead;
    std::int64_t c = 0;
    for (; args.value_dim - c > C * kVecLanes; c += C * kVecLanes) add_columns<R, C>(args, next, c);
    add_last_columns<R, C>(args, next, c, (args.value_dim - c) / kVecLanes);
    ahead = next;
  }
};

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
