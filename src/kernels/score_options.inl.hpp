// What options do to one row of scores of one key block: soft cap, bias, ALiBi; then, after a score
// callback, the element mask. A key that they hide gets -inf, whatever its score holds.
#pragma once

#include "kernels/finish.inl.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// s[j] = fma(bias[j], log2 e, s[j]) for one line of scores; -inf where the bias is -inf. A bias as
/// low as -FLT_MAX is a value: its product with log2 e stops at the lowest float, instead of hiding
/// the key.
RAPT_INLINE void add_bias(float* __restrict s, const float* __restrict bias, std::int64_t stride,
                          std::int64_t count) {
  constexpr float log2_e = static_cast<float>(kLog2E);
  for (std::int64_t j = 0; j < count; ++j) {
    const float x = bias[j * stride];
    const float sum = __builtin_fmaf(x, log2_e, s[j]);
    const float finite = sum < kLowest ? kLowest : sum;  // a NaN stays
    s[j] = x == -kInfinity ? -kInfinity : finite;
  }
}

/// s[j] = -inf for one line of scores where the mask does not keep the key.
RAPT_INLINE void hide_masked(float* __restrict s, const unsigned char* __restrict mask,
                             std::int64_t stride, bool keep, std::int64_t count) {
  for (std::int64_t j = 0; j < count; ++j) {
    s[j] = (mask[j * stride] != 0) == keep ? s[j] : -kInfinity;
  }
}

/// Calls line(scores, first key, keys) for each line of the scores `seen`.
template <class F>
RAPT_INLINE void for_lines(float* row, KeyRange seen, const F& line) {
  for (std::int64_t j = seen.begin; j < seen.end;) {
    const std::int64_t stop = (j / kLanes + 1) * kLanes;
    const std::int64_t end = stop < seen.end ? stop : seen.end;
    line(score_of(row, j), j, end - j);
    j = end;
  }
}

/// s = cap2 * tanh(s / cap2) for whole lines of scores.
inline void cap_scores(float* row, KeyRange seen, float cap2) {
  const LineRange lines(seen);
  const Vec cap(cap2);
  for (std::int64_t line = lines.first; line < lines.last; ++line) {
    RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) {
      float* at = row + line * kTileChunk + i * kVecLanes;
      store(at, cap * tanh(divide(load(at), cap)));
    }
  }
}

/// s[j] = fma(-slope, |distance - j|, s[j]) for one line of scores whose first key is `distance`
/// before the query.
RAPT_INLINE void add_alibi(float* s, float slope, std::int64_t distance, std::int64_t count) {
  for (std::int64_t j = 0; j < count; ++j) {
    const std::int64_t d = distance - j;
    s[j] = __builtin_fmaf(-slope, static_cast<float>(d < 0 ? -d : d), s[j]);
  }
}

RAPT_INLINE bool changes_scores(const AttendArgs& args) {
  return args.bias != nullptr || args.mask != nullptr || args.alibi_slopes != nullptr ||
         args.soft_cap != 0.0f || args.callback != nullptr;
}

/// The options before the masks on the scores `seen` of one row of the block whose first key is
/// `key`.
inline void apply_score_options(const AttendArgs& args, RowPosition at, std::int64_t key,
                                KeyRange seen, float* row) {
  if (args.soft_cap != 0.0f) cap_scores(row, seen, args.soft_cap);
  if (args.bias != nullptr) {
    const MaskStrides& stride = args.bias_strides;
    const float* bias =
        args.bias + at.query * stride.query + at.head * stride.head + key * stride.key;
    for_lines(row, seen, [&](float* s, std::int64_t j, std::int64_t count) {
      add_bias(s, bias + j * stride.key, stride.key, count);
    });
  }
  if (args.alibi_slopes != nullptr) {
    const float slope = args.alibi_slopes[at.head];
    const std::int64_t distance = at.query + args.query_offset - key;
    for_lines(row, seen, [&](float* s, std::int64_t j, std::int64_t count) {
      add_alibi(s, slope, distance - j, count);
    });
  }
}

/// Hides what the element mask does not keep; and again, after a callback, what the bias hides.
inline void hide_keys(const AttendArgs& args, RowPosition at, std::int64_t key, KeyRange seen,
                      float* row) {
  if (args.callback != nullptr && args.bias != nullptr) {
    const MaskStrides& stride = args.bias_strides;
    const float* bias =
        args.bias + at.query * stride.query + at.head * stride.head + key * stride.key;
    for (std::int64_t j = seen.begin; j < seen.end; ++j) {
      if (bias[j * stride.key] == -kInfinity) *score_of(row, j) = -kInfinity;
    }
  }
  if (args.mask != nullptr) {
    const MaskStrides& stride = args.mask_strides;
    const unsigned char* mask =
        args.mask + at.query * stride.query + at.head * stride.head + key * stride.key;
    for_lines(row, seen, [&](float* s, std::int64_t j, std::int64_t count) {
      hide_masked(s, mask + j * stride.key, stride.key, args.mask_keep != 0, count);
    });
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
