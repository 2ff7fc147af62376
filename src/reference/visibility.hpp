// Which keys a row sees, and what is added to their scores: the interpretation of the options that
// both oracles share. Plain and slow on purpose.
#pragma once

#include "rapt/attention.hpp"
#include "reference/elements.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace rapt::reference {

/// Query offsets are clamped to this, so that no position overflows.
inline constexpr std::int64_t kMaxOffset = std::int64_t{1} << 59;

/// The element of a tensor that broadcasts: an extent of 1 stands for any index.
template <class T>
auto broadcast_at(const TensorView<const T, 4>& view, std::int64_t batch, std::int64_t head,
                  std::int64_t query, std::int64_t key) {
  const auto index = [&view](std::size_t dim, std::int64_t i) {
    return view.shape[dim] == 1 ? 0 : i;
  };
  const std::int64_t b = index(0, batch), h = index(1, head), i = index(2, query),
                     j = index(3, key);
  if constexpr (std::is_void_v<T>) {
    return element(view, b, h, i, j);
  } else {
    return view(b, h, i, j);
  }
}

/// The keys of sequence `batch` that exist.
inline std::int64_t sequence_keys(const AttentionOptions& options, std::int64_t batch,
                                  std::int64_t kv_len) {
  return options.kv_lens.empty() ? kv_len : options.kv_lens[static_cast<std::size_t>(batch)];
}

/// The position of query `query` of a sequence with `keys` keys and `q_len` queries.
inline std::int64_t query_position(const Mask& mask, std::int64_t batch, std::int64_t query,
                                   std::int64_t q_len, std::int64_t keys) {
  if (mask.align == Mask::Align::bottom_right) return query + keys - q_len;
  const std::int64_t offset = mask.query_offsets.empty()
                                  ? mask.query_offset
                                  : mask.query_offsets[static_cast<std::size_t>(batch)];
  return query + std::clamp(offset, -kMaxOffset, kMaxOffset);
}

/// Whether the range masks let a query at `position` of sequence `batch`, which has `keys` keys,
/// see key `key`.
inline bool in_range(const Mask& mask, std::int64_t batch, std::int64_t position, std::int64_t key,
                     std::int64_t keys) {
  if (key >= keys) return false;
  const std::int64_t prefix = mask.prefix_lens.empty()
                                  ? mask.prefix_len
                                  : mask.prefix_lens[static_cast<std::size_t>(batch)];
  if (mask.kind == Mask::Kind::causal && key > position && key >= prefix) return false;
  // Differences with the position, not sums: a window may be as wide as the integers.
  if (mask.window_left != kNoWindow && position - key > mask.window_left) return false;
  return mask.window_right == kNoWindow || key - position <= mask.window_right;
}

/// Whether the boolean mask, if there is one, lets the row see the key.
inline bool kept(const BoolMask& mask, std::int64_t batch, std::int64_t head, std::int64_t query,
                 std::int64_t key) {
  if (mask.values.data == nullptr) return true;
  return broadcast_at(mask.values, batch, head, query, key) == (mask.meaning == MaskMeaning::keep);
}

}  // namespace rapt::reference
