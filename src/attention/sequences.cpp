#include "attention/sequences.hpp"

#include <algorithm>
#include <cstddef>

namespace rapt {
namespace {

using kernels::kUnlimited;

/// Where query 0 of sequence `s` stands among its keys; further than half of kUnlimited is no
/// further.
std::int64_t query_offset(const Mask& mask, std::size_t s, std::int64_t q_len,
                          std::int64_t kv_len) {
  if (mask.align == Mask::Align::bottom_right) return kv_len - q_len;
  const std::int64_t offset =
      mask.query_offsets.empty() ? mask.query_offset : mask.query_offsets[s];
  return std::clamp(offset, -kUnlimited / 2, kUnlimited / 2);
}

/// a + b, where a sum beyond all sizes may as well be unlimited.
std::int64_t limited_sum(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) sum = a < 0 ? -kUnlimited : kUnlimited;
  return std::clamp(sum, -kUnlimited, kUnlimited);
}

/// The range mask of sequence `s`.
kernels::VisibleKeys visible_keys(const Mask& mask, std::size_t s, std::int64_t offset,
                                  std::int64_t kv_len) {
  std::int64_t begin = -kUnlimited, end = kUnlimited, limit = kUnlimited;
  if (mask.window_left != kNoWindow) begin = limited_sum(offset, -mask.window_left);
  if (mask.window_right != kNoWindow) {
    limit = limited_sum(limited_sum(offset, mask.window_right), 1);
  }
  if (mask.kind == Mask::Kind::causal) end = limited_sum(offset, 1);
  const std::int64_t prefix = mask.prefix_lens.empty() ? mask.prefix_len : mask.prefix_lens[s];
  return {kv_len, begin, end, std::min(prefix, kv_len), limit};
}

}  // namespace

SequencePlace& Sequences::add(const Mask& mask, std::int64_t q_len, std::int64_t kv_len) {
  const std::int64_t offset = query_offset(mask, places.size(), q_len, kv_len);
  plan.push_back({q_len, visible_keys(mask, plan.size(), offset, kv_len)});
  SequencePlace& place = places.emplace_back();
  place.number = std::ssize(places) - 1;
  place.query_offset = offset;
  return place;
}

void add_batch(const Mask& mask, std::span<const std::int64_t> kv_lens,
               const TensorView<const float, 4>& q, std::int64_t kv_len, Sequences& sequences) {
  for (std::int64_t b = 0; b < q.shape[0]; ++b) {
    const std::int64_t keys = kv_lens.empty() ? kv_len : kv_lens[static_cast<std::size_t>(b)];
    sequences.add(mask, q.shape[2], keys).batch = b;
  }
}

void add_ragged(const Mask& mask, std::span<const std::int64_t> kv_lens, const RaggedRows& rows,
                Sequences& sequences) {
  for (std::size_t s = 0; s + 1 < rows.q.size(); ++s) {
    const std::int64_t keys = kv_lens.empty() ? rows.kv[s + 1] - rows.kv[s] : kv_lens[s];
    const std::int64_t q_len = rows.q[s + 1] - rows.q[s];
    SequencePlace& place = sequences.add(mask, q_len, keys);
    place.q_row = row_of(rows.q[s], q_len);
    place.kv_row = row_of(rows.kv[s], keys);
  }
}

}  // namespace rapt
