// Which keys a query may see. Range masks (causal, windows, key lengths) skip whole blocks of keys
// and never read what they rule out; element masks are read as they lie and broadcast by stride 0
// or extent 1.
#pragma once

#include <cstdint>
#include <span>

#include "rapt/tensor.hpp"

namespace rapt {

/// "Unlimited" for a side of a window.
inline constexpr std::int64_t kNoWindow = -1;

/// A range mask. Query i stands at position p = i + offset among the keys of its sequence; key j is
/// visible iff all of these hold:
///   causal         j <= p, or j < prefix_len
///   window_left    j >= p - window_left,  unless kNoWindow
///   window_right   j <= p + window_right, unless kNoWindow
/// A window counts the extra keys on each side: (0, 0) is the key at p alone. A prefix is for
/// causal masks. A window cuts it as it cuts everything, as in PaliGemma 2: a query sees the part
/// of the prefix that is in its window. Only window_right 0 cannot be given with it: (W - 1, 0),
/// which without a prefix says no more than (W - 1, kNoWindow), would undo it.
struct Mask {
  enum class Kind { none, causal };
  /// Where query 0 stands among the keys.
  enum class Align {
    offset,        ///< at `query_offset`, or at `query_offsets[batch]` where that is given
    bottom_right,  ///< at kv_len - q_len of its own sequence: the last query stands at the last key
  };

  Kind kind = Kind::none;
  Align align = Align::offset;
  std::int64_t query_offset = 0;                  ///< may be negative
  std::span<const std::int64_t> query_offsets{};  ///< [batch], or empty
  std::int64_t window_left = kNoWindow;
  std::int64_t window_right = kNoWindow;
  std::int64_t prefix_len = 0;  ///< keys from key 0 on that earlier queries see, too
  std::span<const std::int64_t> prefix_lens{};  ///< [batch], instead of prefix_len; or empty

  /// The same mask with a window: `causal().windowed(127, 0)` sees the 128 latest keys.
  constexpr Mask windowed(std::int64_t left, std::int64_t right) const {
    Mask mask = *this;
    mask.window_left = left;
    mask.window_right = right;
    return mask;
  }

  /// The same mask with a prefix (prefix-LM): `causal().with_prefix(64)` sees the 64 first keys, of
  /// an image say, from every query, and `causal().windowed(511, kNoWindow).with_prefix(64)` those
  /// of them that are no more than 511 keys back. Keys of a prefix that a sequence does not have do
  /// not exist: chunks of a prefill give the bits of the whole when the first one holds the prefix.
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

/// Causal, query 0 at position `query_offset` of the keys: with a cache, the tokens already in it.
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

/// What a `true` in a boolean mask says. There is no default: libraries disagree.
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
