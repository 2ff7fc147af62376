// The scalar statement of the arithmetic (docs/arithmetic.md): plain loops with std::fma, in the
// order of that text. Its results are by definition correct, bit for bit.
#pragma once

#include "rapt/attention.hpp"
#include "rapt/tensor.hpp"

#include <span>
#include <vector>

namespace rapt::reference {

/// 2^x for x <= 0, at most 2 ULP off; +0 below kExp2Zero; NaN for NaN.
float exp2(float x);

/// The hyperbolic tangent, at most 3 ULP off; NaN for NaN.
float tanh(float x);

/// log2(l) for a normal l > 0, as one sequence of rounded double operations without libm.
double log2(float l);

/// The quiet NaN 0x7fc00000 for every NaN, else x itself: signs and payloads of NaN differ between
/// instruction sets, and an output must not.
float canonical(float x);

/// y = x W^T + b in depth blocks.
///   x [rows, in], weight [out, in], y [rows, out], any strides; bias [out] or empty.
/// Nothing is checked.
void linear(TensorView<const void, 2> x, TensorView<const void, 2> weight,
            std::span<const float> bias, TensorView<void, 2> y);

/// rapt::attention, argument for argument and bit for bit; nothing is checked, one thread.
void attention(TensorView<const void, 4> q, TensorView<const void, 4> k,
               TensorView<const void, 4> v, TensorView<void, 4> out,
               const AttentionOptions& options = {});

/// A row of bytes as floats, and its scale: integer * scale is about the component.
struct ByteRow {
  std::vector<float> integers;
  float scale;
};

/// A row as a cache of bytes stores it.
ByteRow to_bytes(const std::vector<float>& x);

/// [batch, kv_heads, kv_len]: the scales of rows of bytes.
struct RowScales {
  TensorView<const float, 3> k, v;
};

/// attention() over a cache of bytes: k and v hold the integers.
void attention_of_bytes(TensorView<const void, 4> q, TensorView<const float, 4> k,
                        TensorView<const float, 4> v, const RowScales& scales,
                        TensorView<void, 4> out, const AttentionOptions& options);

/// attention() without weights_rows and weight_sums (weights.cpp). scales: null unless k and v are
/// integers.
void attend_rows(TensorView<const void, 4> q, TensorView<const void, 4> k,
                 TensorView<const void, 4> v, const RowScales* scales, TensorView<void, 4> out,
                 const AttentionOptions& options);

/// The functions rapt::merge.
void merge(const AttentionState<const float>& x, const AttentionState<const float>& y,
           const AttentionState<float>& merged);
void merge(const AttentionResult<const float>& x, const AttentionResult<const float>& y,
           const AttentionResult<float>& merged);

}  // namespace rapt::reference
