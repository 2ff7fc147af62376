#include "attention/visible_keys.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace rapt {
namespace {

/// Whether all heads and queries of a sequence have the same row.
template <class T>
bool has_shared_rows(const TensorView<T, 4>& view) {
  const auto is_shared = [&](std::size_t dim) {
    return view.shape[dim] == 1 || view.strides[dim] == 0;
  };
  return view.data != nullptr && is_shared(1) && is_shared(2);
}

/// The row of a mask or bias that all heads and queries of a batch index share.
template <class T>
struct SharedRow {
  const T* first;
  std::int64_t stride;

  SharedRow(const TensorView<const T, 4>& view, std::int64_t batch)
      : first(view.data + (view.shape[0] > 1 ? batch * view.strides[0] : 0)),
        stride(view.shape[3] > 1 ? view.strides[3] : 0) {}

  T operator[](std::int64_t key) const { return first[key * stride]; }
};

/// `keys` without the hidden ones at its ends.
template <class Hidden>
Keys trimmed(Keys keys, const Hidden& hidden) {
  while (keys.begin < keys.end && hidden(keys.begin)) ++keys.begin;
  while (keys.begin < keys.end && hidden(keys.end - 1)) --keys.end;
  return keys;
}

/// A caller's bool may be any byte.
TensorView<const unsigned char, 4> bytes_of(const TensorView<const bool, 4>& mask) {
  return {reinterpret_cast<const unsigned char*>(mask.data), mask.shape, mask.strides};
}

/// `keys` without those at its ends whose bias is -inf.
template <class T>
Keys trimmed_by(const TensorView<const T, 4>& bias, std::int64_t batch, Keys keys) {
  const SharedRow<T> row(bias, batch);
  return trimmed(keys, [&](std::int64_t j) { return static_cast<float>(row[j]) == -INFINITY; });
}

Keys trimmed_by(const TensorView<const void, 4>& bias, std::int64_t batch, Keys keys) {
  if (bias.dtype == DType::bf16) return trimmed_by(bias.as<const bfloat16>(), batch, keys);
  if (bias.dtype == DType::f16) return trimmed_by(bias.as<const float16>(), batch, keys);
  return trimmed_by(bias.as<const float>(), batch, keys);
}

template <class Hidden>
bool hides_any(Keys keys, const Hidden& hidden) {
  for (std::int64_t j = keys.begin; j < keys.end; ++j) {
    if (hidden(j)) return true;
  }
  return false;
}

}  // namespace

bool hide_padding(const AttentionOptions& options, Sequences& sequences) {
  // A callback changes the scores of hidden keys, too.
  if (options.score_callback) return false;
  const BoolMask& mask = options.bool_mask;
  const bool by_mask = has_shared_rows(mask.values), by_bias = has_shared_rows(options.bias);
  if (!by_mask && !by_bias) return false;
  const bool hidden_value = mask.meaning == MaskMeaning::drop;
  bool whole = by_mask;
  for (std::size_t s = 0; s < sequences.plan.size(); ++s) {
    PlanSequence& sequence = sequences.plan[s];
    if (sequence.q_len == 0) continue;
    const std::int64_t batch = sequences.places[s].batch;
    // Other elements of a mask's row are not read.
    Keys keys = keys_seen(sequence.visible, 0, sequence.q_len - 1);
    if (by_bias) keys = trimmed_by(options.bias, batch, keys);
    if (by_mask) {
      const SharedRow<unsigned char> row(bytes_of(mask.values), batch);
      const auto hidden = [&](std::int64_t j) { return (row[j] != 0) == hidden_value; };
      keys = trimmed(keys, hidden);
      whole = whole && !hides_any(keys, hidden);
    }
    if (keys.begin == keys.end) keys = {0, 0};
    sequence.visible.first_key = keys.begin;
    sequence.visible.kv_len = keys.end;
  }
  return whole;
}

}  // namespace rapt
