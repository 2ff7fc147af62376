// Rows on their own: their location, normalisation, rotation and softmax.
#pragma once

#include <cstdint>

namespace rapt::kernels {

/// RMS normalisation of a row of queries or keys.
struct RowNorm {
  int on;  ///< 0: none
  float epsilon;
  const float* weight;  ///< null: all 1
};

/// A table for RoPE: a row of cos and sin per position.
struct Rotation {
  const float* cos;  ///< null: no rotation; else [position][cos_stride]
  const float* sin;
  std::int64_t cos_stride, sin_stride;
  std::int64_t pairs;  ///< half of the rotary dims
  int interleaved;     ///< pairs (2 d, 2 d + 1), else (d, d + pairs)
};

/// Explicit positions of rows [batch][token].
struct Positions {
  const std::int64_t* data;  ///< null: not given
  std::int64_t batch_stride, token_stride;
};

/// Rows of [batch, heads, tokens, ...] in the caller's memory: the row of batch b, head h and token
/// t starts at data + b * batch_stride + h * head_stride + t * token_stride.
template <class T>
struct HeadRows {
  T* data;  ///< null: no such tensor
  std::int64_t batch_stride, head_stride, token_stride;
};

/// Rows with one element per key, key_stride apart: of a bias or a mask.
template <class T>
struct ElementRows {
  HeadRows<T> rows;
  std::int64_t key_stride;
};

/// States (m, l, o); for results o is out, m is lse, and l is absent.
template <class T>
struct StateRows {
  HeadRows<T> m, l, o;
};

/// y = rows of x, rotated. y may be x.
struct RotateArgs {
  const float* x;
  std::int64_t x_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t rows;
  std::int64_t head_dim;
  Rotation rotation;
  const std::int64_t* positions;  ///< null: row i is at first_position + i
  std::int64_t position_stride;   ///< otherwise positions[i * position_stride]
  std::int64_t first_position;
};

/// y = rows of x, normalised. y may be x.
struct NormArgs {
  const float* x;
  std::int64_t x_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t rows;
  std::int64_t width;
  RowNorm norm;
};

/// y = rows of x, with mean 0 and variance 1, then weighted and shifted. y may be x.
struct LayerNormArgs {
  const float* x;
  std::int64_t x_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t rows;
  std::int64_t width;
  float epsilon;
  const float* weight;       ///< null: all 1
  const float* bias;         ///< null: all 0
  float* mean;               ///< [rows], or null
  float* inverse_deviation;  ///< [rows], or null
};

/// y = softmax of each row of x. y may be x.
struct SoftmaxRowsArgs {
  const float* x;
  std::int64_t x_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t rows;
  std::int64_t width;
};

}  // namespace rapt::kernels
