// Which keys a query may see. Range masks (causal, windows, key lengths) skip whole blocks of keys
// and never read the keys that they exclude; element masks are read in place and broadcast by
// stride 0 or extent 1.
#pragma once

#include "rapt/tensor.hpp"

#include <cstdint>
#include <span>

namespace rapt {

/// "Unlimited" for a side of a window.
inline constexpr std::int64_t kNoWindow = -1;

/// A range mask. Query i is at position p = i + offset among the keys of its sequence; key j is
/// visible iff all of these hold:
///   causal         j <= p, or j < prefix_len
///   window_left    j >= p - window_left,  unless kNoWindow
///   window_right   j <= p + window_right, unless kNoWindow
/// A window counts the keys on each side in addition to the one at p: (0, 0) is the key at p alone.
/// A prefix requires a causal mask. A window applies to it as to all keys, as in PaliGemma 2: a
/// query sees the part of the prefix that is in its window. Only window_right 0 cannot be combined
/// with it: (W - 1, 0), which without a prefix equals (W - 1, kNoWindow), would undo it.
struct Mask {
  enum class Kind { none, causal };
  /// The position of query 0 among the keys.
  enum class Align {
    offset,        ///< `query_offset`, or `query_offsets[batch]` if given
    bottom_right,  ///< kv_len - q_len of its own sequence: the last query is at the last key
  };

  Kind kind = Kind::none;
  Align align = Align::offset;
  std::int64_t query_offset = 0;                  ///< may be negative
  std::span<const std::int64_t> query_offsets{};  ///< [batch], or empty
  std::int64_t window_left = kNoWindow;
  std::int64_t window_right = kNoWindow;
  std::int64_t prefix_len = 0;                  ///< the first keys, which earlier queries see, too
  std::span<const std::int64_t> prefix_lens{};  ///< [batch], instead of prefix_len; or empty

  /// The same mask with a window: `causal().windowed(127, 0)` sees the 128 latest keys.
  constexpr Mask windowed(std::int64_t left, std::int64_t right) const {
    Mask mask = *this;
    mask.window_left = left;
    mask.window_right = right;
    return mask;
  }

  /// The same mask with a prefix (prefix-LM): with `causal().with_prefix(64)` every query sees the
  /// first 64 keys, those of an image for example, and with
  /// `causal().windowed(511, kNoWindow).with_prefix(64)` those of them that are at most 511 keys
  /// back. A prefix may be longer than a sequence; the chunks of a prefill give the bits of the
  /// whole if the first one contains the prefix.
  /// Source: Raffel et al., "Exploring the Limits of Transfer Learning" (T5), 2020, section 3.2.1.
  constexpr Mask with_prefix(std::int64_t len) const {
    Mask mask = *this;
    mask.prefix_len = len;
    return mask;
  }

  /// With a prefix per sequence. `lens`: [batch], must outlive the call.
  constexpr Mask with_prefix(std::span<const std::int64_t> lens) const {
    Mask mask = *this;
    mask.prefix_lens = lens;
    return mask;
  }
};

/// Causal, query 0 at position `query_offset`: with a cache, the number of tokens already in it.
constexpr Mask causal(std::int64_t query_offset = 0) {
  return {.kind = Mask::Kind::causal, .query_offset = query_offset};
}

/// Causal with an offset per sequence. `query_offsets`: [batch], must outlive the call.
constexpr Mask causal(std::span<const std::int64_t> query_offsets) {
  return {.kind = Mask::Kind::causal, .query_offsets = query_offsets};
}

/// Causal, query 0 at key 0, even when q_len != kv_len (PyTorch's is_causal).
constexpr Mask causal_top_left() { return causal(0); }

/// Causal, the last query at the last key of its sequence (FlashAttention >= 2.1).
constexpr Mask causal_bottom_right() {
  return {.kind = Mask::Kind::causal, .align = Mask::Align::bottom_right};
}

/// What `true` means in a boolean mask. There is no default: libraries disagree.
enum class MaskMeaning {
  keep,  ///< true = the query attends to the key
  drop,  ///< true = the key does not exist for the query
};

/// A boolean mask over [batch, heads, q_len, kv_len]; an extent of 1 or a stride of 0 broadcasts.
/// Empty (data == nullptr): no mask.
struct BoolMask {
  TensorView<const bool, 4> values{};
  MaskMeaning meaning{};

  constexpr BoolMask() = default;
  constexpr BoolMask(TensorView<const bool, 4> values_, MaskMeaning meaning_)
      : values(values_), meaning(meaning_) {}
};

}  // namespace rapt
