#include "attention/sequences.hpp"

#include <algorithm>
#include <cstddef>

namespace rapt {
namespace {

using kernels::kUnlimited;

/// The position of query 0 of sequence `s` among its keys, clamped to half of kUnlimited.
std::int64_t query_offset(const Mask& mask, std::size_t s, std::int64_t q_len,
                          std::int64_t kv_len) {
  if (mask.align == Mask::Align::bottom_right) return kv_len - q_len;
  const std::int64_t offset =
      mask.query_offsets.empty() ? mask.query_offset : mask.query_offsets[s];
  return std::clamp(offset, -kUnlimited / 2, kUnlimited / 2);
}

/// a + b, saturated at +-kUnlimited.
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

SequencePlace& Sequences::add(std::int64_t q_len, std::int64_t kv_len) {
  plan.push_back({q_len, {.kv_len = kv_len}});
  SequencePlace& place = places.emplace_back();
  place.number = std::ssize(places) - 1;
  return place;
}

void place_queries(const Mask& mask, bool at_end, Sequences& sequences) {
  for (std::size_t s = 0; s < sequences.plan.size(); ++s) {
    auto& [q_len, visible] = sequences.plan[s];
    const std::int64_t offset =
        at_end ? visible.kv_len - q_len : query_offset(mask, s, q_len, visible.kv_len);
    sequences.places[s].query_offset = offset;
    visible = visible_keys(mask, s, offset, visible.kv_len);
  }
}

}  // namespace rapt
