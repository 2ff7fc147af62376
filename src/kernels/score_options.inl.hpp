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

/// s = cap2 * tanh(s / cap2).
struct SoftCap {
  Vec cap;
  RAPT_INLINE Vec operator()(Vec s, Vec) const { return cap * tanh(divide(s, cap)); }
};

/// s = fma(-slope, |distance - j|, s) for key j of a block that begins `distance` before the query.
struct Alibi {
  Vec minus_slope, distance;
  RAPT_INLINE Vec operator()(Vec s, Vec j) const {
    return fma(minus_slope, absolute(distance - j), s);
  }
};

/// Whether the distances of a block's keys are floats without rounding.
RAPT_INLINE bool is_exact(std::int64_t distance) {
  constexpr std::int64_t kMost = (std::int64_t{1} << 24) - kKeyBlock;
  return -kMost < distance && distance < kMost;
}

/// The same for any distance, on one line of scores whose first key is `distance` before the query.
RAPT_INLINE void add_alibi(float* s, float slope, std::int64_t distance, std::int64_t count) {
  for (std::int64_t j = 0; j < count; ++j) {
    const std::int64_t d = distance - j;
    s[j] = __builtin_fmaf(-slope, static_cast<float>(d < 0 ? -d : d), s[j]);
  }
}

/// s_j = change(s_j, j) for the scores `seen`, -inf for the others of their lines. Returns the
/// maximum, NaNs ignored: in the same pass, since a score that is loaded again costs as much as
/// ALiBi.
template <class Change>
RAPT_INLINE float change_scores(float* row, KeyRange seen, const Change& change) {
  const LineRange lines(seen);
  Vec number[kLaneVectors], top[kLaneVectors];
  RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) {
    number[i] = lane_numbers(i * kVecLanes) + Vec(static_cast<float>(lines.first * kLanes));
    top[i] = Vec(-kInfinity);
  }
  for (std::int64_t line = lines.first; line < lines.last; ++line) {
    const std::int64_t key = line * kLanes;
    const bool whole = seen.begin <= key && key + kLanes <= seen.end;
    RAPT_UNROLL for (int i = 0; i < kLaneVectors; ++i) {
      float* at = row + line * kTileChunk + i * kVecLanes;
      Vec s = change(load(at), number[i]);
      if (!whole) s = keep_lanes(s, key + i * kVecLanes, seen.begin, seen.end, Vec(-kInfinity));
      store(at, s);
      top[i] = max_ignoring_nan(s, top[i]);
      number[i] = number[i] + Vec(static_cast<float>(kLanes));
    }
  }
  return reduce_max(top);
}

RAPT_INLINE bool changes_scores(const AttendArgs& args) {
  return args.bias != nullptr || args.mask != nullptr || args.alibi_slopes != nullptr ||
         args.soft_cap != 0.0f || args.callback != nullptr;
}

/// The options before the masks on the scores `seen`, not none, of one row of the block whose first
/// key is `key`. Returns their maximum, NaNs ignored.
inline float apply_score_options(const AttendArgs& args, RowPosition at, std::int64_t key,
                                 KeyRange seen, float* row) {
  const SoftCap cap{Vec(args.soft_cap)};
  const bool capped = args.soft_cap != 0.0f, sloped = args.alibi_slopes != nullptr;
  const std::int64_t distance = at.query + args.query_offset - key;
  const float slope = sloped ? args.alibi_slopes[at.head] : 0.0f;
  const Alibi alibi{Vec(-slope), Vec(static_cast<float>(distance))};
  if (args.bias == nullptr && (!sloped || is_exact(distance))) {
    if (capped && sloped) {
      return change_scores(row, seen, [&](Vec s, Vec j) { return alibi(cap(s, j), j); });
    }
    if (capped) return change_scores(row, seen, cap);
    return sloped ? change_scores(row, seen, alibi) : block_max(row, seen);
  }
  if (capped) change_scores(row, seen, cap);
  if (args.bias != nullptr) {
    const MaskStrides& stride = args.bias_strides;
    const float* bias =
        args.bias + at.query * stride.query + at.head * stride.head + key * stride.key;
    for_lines(row, seen, [&](float* s, std::int64_t j, std::int64_t count) {
      add_bias(s, bias + j * stride.key, stride.key, count);
    });
  }
  if (sloped && is_exact(distance)) return change_scores(row, seen, alibi);
  if (sloped) {
    for_lines(row, seen, [&](float* s, std::int64_t j, std::int64_t count) {
      add_alibi(s, slope, distance - j, count);
    });
  }
  return block_max(row, seen);
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
