// The arguments of the two kernels that stream rows of K and V in place: data for a few rows of
// queries, read once. Part of kernel_set.hpp.
#pragma once

#include <cstdint>

namespace rapt::kernels {

/// s(r, first + j) = sum over ascending d of q(r, d) * k[j * k_stride + d], for keys j < keys.
struct KeyRowsArgs {
  const float* q;  ///< row tile of depth head_dim
  const float* k;
  std::int64_t k_stride;
  std::int64_t head_dim;     ///< a multiple of the vector's lanes
  std::int64_t rows;         ///< at most stream_rows(...)
  std::int64_t first, keys;  ///< multiples of the lanes
  float* s;                  ///< row tile of depth kKeyBlock
};

/// sums(r, c) += sum over ascending j in [begin, end) of p(r, j) * v[(j - begin) * v_stride + c].
/// A block's last part folds them instead: o[r] = fma(o[r], a[r], sums[r] * b[r]).
struct ValueRowsArgs {
  const float* p;  ///< row tile of depth kKeyBlock
  const float* v;
  std::int64_t v_stride;
  std::int64_t value_dim;  ///< a multiple of the vector's lanes
  std::int64_t rows;       ///< at most stream_rows(...)
  std::int64_t begin, end;
  bool starts, ends;  ///< the block: the sums are 0 before, and folded after
  float* sums;        ///< rows * value_dim floats, in an order of the kernel's own
  const float* a;     ///< [rows]
  const float* b;
  float* o;  ///< [rows][o_stride]
  std::int64_t o_stride;
};

}  // namespace rapt::kernels
