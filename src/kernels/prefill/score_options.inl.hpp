// Score options on one row of one key block: soft cap, bias, ALiBi; then, after a score callback,
// the element mask. A hidden key gets -inf, whatever its score was.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// A row of a bias or element mask, starting at key 0 of a block. Only the elements of the keys
/// `seen` are read.
template <class T>
struct ElementRow {
  const T* first;
  std::int64_t stride;
  KeyRange seen;

  /// The elements of the keys [j, j + kVecLanes), 0 for keys that are not seen.
  RAPT_INLINE Vec at(std::int64_t j) const {
    const bool whole = stride == 1 && seen.begin <= j && j + kVecLanes <= seen.end;
    return whole ? load(first + j) : one_by_one(j);
  }

 private:
  // Out of line: rare, and unrolled it would bloat the loop over scores.
  RAPT_NOINLINE Vec one_by_one(std::int64_t j) const {
    float part[kVecLanes];
    for (int i = 0; i < kVecLanes; ++i) {
      const bool is_seen = seen.begin <= j + i && j + i < seen.end;
      part[i] = is_seen ? static_cast<float>(first[(j + i) * stride]) : 0.0f;
    }
    return load(part);
  }
};

/// The element of a bias's row at key 0 of the block whose first key is `key`.
RAPT_INLINE const void* bias_row(const AttendItem& item, RowPosition at, std::int64_t key) {
  const ElementRows<const void>& bias = item.call->bias;
  return element_at(bias.rows.data, item.call->bias_type,
                    row_offset(bias.rows, item, at) + key * bias.key_stride);
}

/// The bias of a row of queries for the keys `seen` of a block; of another type in `wide`.
RAPT_INLINE ElementRow<float> bias_of(const AttendItem& item, RowPosition at, std::int64_t key,
                                      KeyRange seen, float (&wide)[kKeyBlock]) {
  const void* const row = bias_row(item, at, key);
  const std::int64_t stride = item.call->bias.key_stride;
  const ElementType type = item.call->bias_type;
  if (type == ElementType::f32) return {static_cast<const float*>(row), stride, seen};
  with_elements(row, type, [&](const auto* from) {
    if (stride == 1) return widen(from + seen.begin, seen.end - seen.begin, wide + seen.begin);
    for (std::int64_t j = seen.begin; j < seen.end; ++j) wide[j] = widened(from[j * stride]);
  });
  return {wide, 1, seen};
}

RAPT_INLINE ElementRow<unsigned char> mask_of(const AttendItem& item, RowPosition at,
                                              std::int64_t key, KeyRange seen) {
  const ElementRows<const unsigned char>& mask = item.call->mask;
  return {row_at(mask.rows, item, at) + key * mask.key_stride, mask.key_stride, seen};
}

/// Calls line(scores, first key, keys) for each cache line of the scores `seen`.
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
  RAPT_INLINE Vec operator()(Vec s, Vec, std::int64_t) const { return cap * tanh(divide(s, cap)); }
};

/// s = fma(bias, log2 e, s); -inf where the bias is -inf. A bias as low as -FLT_MAX is an ordinary
/// value: its product with log2 e saturates at the lowest float instead of hiding the key. A NaN
/// stays.
struct Bias {
  ElementRow<float> row;
  RAPT_INLINE Vec operator()(Vec s, Vec, std::int64_t key) const {
    const Vec x = row.at(key), lowest(kLowest);
    if (!all_below(Vec(kLow), x)) return with_low_bias(s, x);
    const Vec sum = fma(x, Vec(kFactor), s);
    return select_less(sum, lowest, lowest, sum);
  }

 private:
  static constexpr float kFactor = static_cast<float>(kLog2E);
  static constexpr float kLow = -0x1p+127f;

  /// For a bias so low that its product may overflow: a sum of quarters, which rounds as the sum
  /// itself does.
  static RAPT_INLINE Vec with_low_bias(Vec s, Vec x) {
    const Vec lowest(kLowest), low(kLow), zero(0.0f), least(0.25f * kLowest);
    const Vec sum = fma(select_less(x, low, zero, x), Vec(kFactor), s);
    const Vec part = fma(select_less(x, low, x, zero), Vec(0.25f * kFactor), s * Vec(0.25f));
    const Vec low_sum = select_less(part, least, least, part) * Vec(4.0f);
    const Vec whole = select_less(x, low, low_sum, select_less(sum, lowest, lowest, sum));
    return select_less(x, lowest, x, whole);
  }
};

/// s = -inf where the mask hides the key.
struct ElementMask {
  ElementRow<unsigned char> row;
  bool keep;
  RAPT_INLINE Vec operator()(Vec s, Vec, std::int64_t key) const {
    const Vec x = row.at(key), zero(0.0f), hidden(-kInfinity);
    return keep ? select_less(zero, x, s, hidden) : select_less(zero, x, hidden, s);
  }
};

/// s = fma(-slope, |distance - j|, s) for key j of a block that starts `distance` keys before the
/// query.
struct Alibi {
  Vec minus_slope, distance;
  RAPT_INLINE Vec operator()(Vec s, Vec j, std::int64_t) const {
    return fma(minus_slope, absolute(distance - j), s);
  }
};

/// Whether the distances of a block's keys are exact as floats.
RAPT_INLINE bool is_exact(std::int64_t distance) {
  constexpr std::int64_t kMax = (std::int64_t{1} << 24) - kKeyBlock;
  return -kMax < distance && distance < kMax;
}

/// The distance from the first key of a block to a query.
RAPT_INLINE std::int64_t distance_of(const AttendItem& item, RowPosition at, std::int64_t key) {
  return at.query + item.sequence->query_offset - key;
}

/// ALiBi at any distance, on one cache line of scores whose first key is `distance` before the
/// query.
RAPT_INLINE void add_alibi(float* s, float slope, std::int64_t distance, std::int64_t count) {
  for (std::int64_t j = 0; j < count; ++j) {
    const std::int64_t d = distance - j;
    s[j] = __builtin_fmaf(-slope, static_cast<float>(d < 0 ? -d : d), s[j]);
  }
}

/// s_j = change(s_j, j, key of lane 0) for the scores `seen`, -inf for the others of their lines.
/// Returns the maximum, NaNs ignored, from the same pass: loading the scores again would cost as
/// much as ALiBi.
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
      const std::int64_t first = key + i * kVecLanes;
      Vec s = load(at);  // outside `seen` it may be anything
      if (!whole) s = keep_lanes(s, first, seen.begin, seen.end, Vec(0.0f));
      s = change(s, number[i], first);
      if (!whole) s = keep_lanes(s, first, seen.begin, seen.end, Vec(-kInfinity));
      store(at, s);
      top[i] = max_ignoring_nan(s, top[i]);
      number[i] = number[i] + Vec(static_cast<float>(kLanes));
    }
  }
  return reduce_max(top);
}

/// Options that only apply_score_options knows: more than soft cap and ALiBi, which have a faster
/// pass of their own. A new option on the scores belongs here.
RAPT_INLINE bool has_general_options(const AttendItem& item) {
  return item.call->bias.rows.data != nullptr;
}

RAPT_INLINE bool has_score_options(const AttendItem& item) {
  return has_general_options(item) || item.call->alibi_slopes != nullptr ||
         item.call->soft_cap != 0.0f;
}

RAPT_INLINE bool changes_scores(const AttendItem& item) {
  return has_score_options(item) || item.call->mask.rows.data != nullptr ||
         item.call->callback != nullptr;
}

/// Soft cap, ALiBi or both on the non-empty scores `seen` of one row of the block whose first key
/// is `key`, at an exact distance. Returns their maximum, NaNs ignored.
template <bool kCapped, bool kSloped>
struct CapAndSlope {
  const AttendItem& item;
  std::int64_t key;
  SoftCap cap;

  RAPT_INLINE float operator()(float* row, RowPosition at, KeyRange seen) const {
    const float slope = kSloped ? item.call->alibi_slopes[item.first_head + at.head] : 0.0f;
    const Alibi alibi{Vec(-slope), Vec(static_cast<float>(distance_of(item, at, key)))};
    return change_scores(row, seen, [&](Vec s, Vec j, std::int64_t first) {
      if constexpr (kCapped) s = cap(s, j, first);
      if constexpr (kSloped) s = alibi(s, j, first);
      return s;
    });
  }
};

/// All options in their order, at least one of them; ALiBi at any distance.
inline float apply_score_options(const AttendItem& item, RowPosition at, std::int64_t key,
                                 KeyRange seen, float* row) {
  const SoftCap cap{Vec(item.call->soft_cap)};
  float top = -kInfinity;
  if (item.call->soft_cap != 0.0f) top = change_scores(row, seen, cap);
  if (item.call->bias.rows.data != nullptr) {
    float wide[kKeyBlock];
    top = change_scores(row, seen, Bias{bias_of(item, at, key, seen, wide)});
  }
  if (item.call->alibi_slopes == nullptr) return top;
  const std::int64_t distance = distance_of(item, at, key);
  if (is_exact(distance)) return CapAndSlope<false, true>{item, key, cap}(row, at, seen);
  const float slope = item.call->alibi_slopes[item.first_head + at.head];
  for_lines(row, seen, [&](float* s, std::int64_t j, std::int64_t count) {
    add_alibi(s, slope, distance - j, count);
  });
  return block_max(row, seen);
}

/// Hides keys by the element mask and, after a callback, again by the bias. Returns the maximum of
/// the remaining scores, NaNs ignored.
inline float hide_keys(const AttendItem& item, RowPosition at, std::int64_t key, KeyRange seen,
                       float* row) {
  if (item.call->callback != nullptr && item.call->bias.rows.data != nullptr) {
    float wide[kKeyBlock];
    const ElementRow<float> bias = bias_of(item, at, key, seen, wide);
    for (std::int64_t j = seen.begin; j < seen.end; ++j) {
      if (bias.first[j * bias.stride] == -kInfinity) *score_of(row, j) = -kInfinity;
    }
  }
  if (item.call->mask.rows.data == nullptr) return block_max(row, seen);
  return change_scores(row, seen,
                       ElementMask{mask_of(item, at, key, seen), item.call->mask_keep != 0});
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
