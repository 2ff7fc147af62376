// The keys of a block that an element mask and a bias of -inf leave to a row: where they begin and
// end, and whether there are hidden ones between. What lies outside costs nothing from then on.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/prefill/score_options.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Whether a mask or a bias may hide keys.
RAPT_INLINE bool masks_elements(const AttendItem& item) {
  return item.call->mask.rows.data != nullptr || item.call->bias.rows.data != nullptr;
}

/// Whether the kv heads of the item have masks of their own.
RAPT_INLINE bool masks_differ(const AttendItem& item) {
  const AttendCall& call = *item.call;
  return item.heads > 1 && masks_elements(item) &&
         (call.mask.rows.head_stride != 0 || call.bias.rows.head_stride != 0);
}

/// Whether the rows of a query tile see only what masks leave to them. Not with a callback, which
/// changes the scores of hidden keys too.
RAPT_INLINE bool narrows_rows(const AttendItem& item) {
  return masks_elements(item) && item.call->callback == nullptr && !masks_differ(item);
}

/// A set of keys of a block: key j is bit j % 64 of word j / 64.
constexpr std::int64_t kWordKeys = 64, kWords = kKeyBlock / kWordKeys;

/// The keys of a row that its masks leave.
struct MaskedRow {
  std::uint64_t kept[kWords];  ///< within [begin, end), if there are holes
  std::int16_t begin, end;
  bool holes;  ///< the mask hides some of [begin, end)

  KeyRange keys() const { return {begin, end}; }
};

/// The lowest n bits of a word; none if n is negative.
RAPT_INLINE std::uint64_t low_bits(std::int64_t n) {
  if (n <= 0) return 0;
  return n < kWordKeys ? (std::uint64_t{1} << n) - 1 : ~std::uint64_t{0};
}

/// Whether a bias hides the first or last of the keys `seen` of a block, at least one, from a row.
/// Only then is the whole row read: between its ends the pass that adds a bias hides keys at no
/// cost.
RAPT_INLINE bool bias_hides_end(const AttendItem& item, std::int64_t block, RowPosition at,
                                KeyRange seen) {
  const std::int64_t stride = item.call->bias.key_stride;
  const void* const first = bias_row(item, at, block * kKeyBlock);
  return with_elements(first, item.call->bias_type, [&](const auto* row) {
    const bool hides_first = widened(row[seen.begin * stride]) == -kInfinity;
    const bool hides_last = widened(row[(seen.end - 1) * stride]) == -kInfinity;
    return hides_first | hides_last;
  });
}

// Out of line, and with arguments by value: the loop over rows stays in registers.

/// Bit j: element j of `count` is not 0.
RAPT_NOINLINE inline std::uint64_t nonzero_one_by_one(const unsigned char* first,
                                                      std::int64_t stride, std::int64_t count) {
  std::uint64_t bits = 0;
  for (std::int64_t j = 0; j < count; ++j) bits |= std::uint64_t{first[j * stride] != 0} << j;
  return bits;
}

/// Bit j: element j of `count` is -inf.
template <class T>
RAPT_NOINLINE inline std::uint64_t hidden_one_by_one(const T* first, std::int64_t stride,
                                                     std::int64_t count) {
  std::uint64_t bits = 0;
  for (std::int64_t j = 0; j < count; ++j) {
    bits |= std::uint64_t{widened(first[j * stride]) < kLowest} << j;
  }
  return bits;
}

/// Reads the rows of a mask and a bias in one block. Adjacent rows that share their elements, as
/// the heads of a group usually do, are read once.
class RowMasks {
 public:
  /// keys: those of the block of which rows are needed. All keys of the sequence may be read.
  RAPT_INLINE RowMasks(const AttendItem& item, std::int64_t block, KeyRange keys)
      : item_(item),
        block_(block),
        key_(block * kKeyBlock),
        limit_(item.visible.kv_len - key_),
        first_(keys.begin / kWordKeys),
        last_((keys.end + kWordKeys - 1) / kWordKeys) {}

  /// What is left of the keys `seen`.
  RAPT_INLINE void narrow(RowPosition at, KeyRange seen, MaskedRow& row) {
    if (seen.begin == seen.end || !read(at, seen)) {
      set(row, seen);
      row.holes = false;
      return;
    }
    set_range(seen);
    std::uint64_t any = 0, missing = 0;
    RAPT_UNROLL for (std::int64_t w = 0; w < kWords; ++w) {
      row.kept[w] = kept_[w] & range_[w];
      any |= row.kept[w];
      missing |= row.kept[w] ^ range_[w];
    }
    if (missing != 0) seen = any == 0 ? KeyRange{0, 0} : ends_of(row.kept);
    set(row, seen);
    row.holes = missing != 0 && any != 0 && has_holes(row.kept, seen);
  }

 private:
  /// Most rows of a tile see the same keys.
  RAPT_INLINE void set_range(KeyRange seen) {
    if (seen.begin == seen_.begin && seen.end == seen_.end) return;
    seen_ = seen;
    RAPT_UNROLL for (std::int64_t w = 0; w < kWords; ++w) {
      const std::int64_t key = w * kWordKeys;
      range_[w] = low_bits(seen.end - key) & ~low_bits(seen.begin - key);
    }
  }

  static RAPT_INLINE void set(MaskedRow& row, KeyRange keys) {
    row.begin = static_cast<std::int16_t>(keys.begin);
    row.end = static_cast<std::int16_t>(keys.end);
  }

  /// From the first to the last of the keys, at least one.
  static RAPT_INLINE KeyRange ends_of(const std::uint64_t* kept) {
    std::int64_t first = 0, last = kWords - 1;
    while (kept[first] == 0) ++first;
    while (kept[last] == 0) --last;
    return {first * kWordKeys + __builtin_ctzll(kept[first]),
            (last + 1) * kWordKeys - __builtin_clzll(kept[last])};
  }

  static RAPT_INLINE bool has_holes(const std::uint64_t* kept, KeyRange keys) {
    std::int64_t count = 0;
    RAPT_UNROLL for (std::int64_t w = 0; w < kWords; ++w) count += __builtin_popcountll(kept[w]);
    return count != keys.end - keys.begin;
  }

  /// Returns false if there is nothing to read.
  RAPT_INLINE bool read(RowPosition at, KeyRange seen) {
    const AttendCall& call = *item_.call;
    const unsigned char* mask = nullptr;
    const void* bias = nullptr;
    if (call.mask.rows.data != nullptr) {
      mask = row_at(call.mask.rows, item_, at) + key_ * call.mask.key_stride;
    }
    if (call.bias.rows.data != nullptr && bias_hides_end(item_, block_, at, seen)) {
      bias = bias_row(item_, at, key_);
    }
    if (mask == nullptr && bias == nullptr) return false;
    if (mask == mask_ && bias == bias_) return true;
    mask_ = mask;
    bias_ = bias;
    for (std::int64_t w = first_; w < last_; ++w) kept_[w] = kept_of(w * kWordKeys);
    return true;
  }

  /// The kept keys of the word that starts with key `key`.
  RAPT_INLINE std::uint64_t kept_of(std::int64_t key) const {
    const AttendCall& call = *item_.call;
    const std::int64_t count = limit_ - key < kWordKeys ? limit_ - key : kWordKeys;
    std::uint64_t kept = ~std::uint64_t{0};
    if (mask_ != nullptr) {
      const std::int64_t stride = call.mask.key_stride;
      const unsigned char* const first = mask_ + key * stride;
      const bool whole = stride == 1 && count == kWordKeys;
      kept = whole ? nonzero_bits(first) : nonzero_one_by_one(first, stride, count);
      if (call.mask_keep == 0) kept = ~kept;
    }
    if (bias_ == nullptr) return kept;
    const std::int64_t stride = call.bias.key_stride;
    const bool whole = stride == 1 && count == kWordKeys;
    return kept & ~with_elements(bias_, call.bias_type, [&](const auto* row) {
             const auto* const first = row + key * stride;
             return whole ? hidden_bits(first) : hidden_one_by_one(first, stride, count);
           });
  }

  template <class T>
  static RAPT_INLINE std::uint64_t hidden_bits(const T* bias) {
    std::uint64_t hidden = 0;
    for (int i = 0; i < kWordKeys; i += kVecLanes) {
      hidden |= below_bits(load(bias + i), Vec(kLowest)) << i;
    }
    return hidden;
  }

  const AttendItem& item_;
  std::int64_t block_, key_, limit_, first_, last_;
  const unsigned char* mask_ = nullptr;
  const void* bias_ = nullptr;
  std::uint64_t kept_[kWords] = {};
  KeyRange seen_{0, 0};
  std::uint64_t range_[kWords] = {};  // the bits of seen_
};

/// s = -inf where a masked row's key is hidden.
struct KeptKeys {
  const std::uint64_t* kept;
  RAPT_INLINE Vec operator()(Vec s, Vec, std::int64_t key) const {
    return keep_bits(s, kept[key / kWordKeys] >> key % kWordKeys, Vec(-kInfinity));
  }
};

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
