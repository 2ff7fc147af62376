// attention() over tensors, ragged batches and pages; merge().
#include "fuzz/descriptor_functions.hpp"
#include "fuzz/descriptor_options.hpp"
#include "rapt/rapt.hpp"

#include <algorithm>
#include <span>

namespace rapt::test {
namespace {

/// The largest difference of neighbouring elements, if no difference overflows.
std::int64_t max_rows(std::span<const std::int64_t> offsets) {
  std::int64_t most = 0;
  for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
    std::int64_t rows = 0;
    if (!__builtin_sub_overflow(offsets[s + 1], offsets[s], &rows)) most = std::max(most, rows);
  }
  return most;
}

}  // namespace

void call_attention(Draws& d) {
  const Sizes s(d);
  AttentionOptions options = draw_options(d, {s.batch, s.batch, s.heads, s.kv_heads, s.q_len,
                                              s.kv_len, s.kv_len, s.head_dim, s.value_dim});
  if (d.one_in(5)) {
    options.kv_lens = d.numbers(s.batch, [&] { return d.number(d.below(s.kv_len + 1)); });
  }
  attention(d.elements<const void>(Extents4{s.batch, s.heads, s.q_len, s.head_dim}),
            d.elements<const void>(Extents4{s.batch, s.kv_heads, s.kv_len, s.head_dim}),
            d.elements<const void>(Extents4{s.batch, s.kv_heads, s.kv_len, s.value_dim}),
            d.elements<void>(Extents4{s.batch, s.heads, s.q_len, s.value_dim}), options);
}

void call_ragged(Draws& d) {
  const Sizes s(d);
  const RaggedRows rows{d.offsets(s.batch, s.q_len), d.offsets(s.batch, s.kv_len)};
  const std::int64_t keys = std::min<std::int64_t>(max_rows(rows.kv), 300);
  AttentionOptions options = draw_options(
      d, {1, s.batch, s.heads, s.kv_heads, s.q_len, keys, s.kv_len, s.head_dim, s.value_dim});
  if (d.one_in(8)) options.kv_lens = d.numbers(s.batch, [&] { return d.number(0); });
  attention(d.elements<const void>(Extents3{s.q_len, s.heads, s.head_dim}),
            d.elements<const void>(Extents3{s.kv_len, s.kv_heads, s.head_dim}),
            d.elements<const void>(Extents3{s.kv_len, s.kv_heads, s.value_dim}),
            d.elements<void>(Extents3{s.q_len, s.heads, s.value_dim}), rows, options);
}

void call_paged(Draws& d) {
  const Sizes s(d);
  const std::int64_t pages = d.below(4), page_size = d.one_in(4) ? 32 : 1 + d.below(6);
  const std::int64_t columns = d.below(4);
  const auto lens = d.numbers(s.batch, [&] { return d.count(d.below(page_size * columns + 1)); });
  std::int64_t keys = 0;
  for (const std::int64_t len : lens) keys = std::max(keys, std::min<std::int64_t>(len, 300));
  PagedKeyValues kv;
  kv.k = d.elements<const void>(Extents4{pages, page_size, s.kv_heads, s.head_dim});
  kv.v = d.elements<const void>(Extents4{pages, page_size, s.kv_heads, s.value_dim});
  if (d.wrong()) {  // one row, repeated
    const std::int64_t tokens = d.extreme_count();
    for (TensorView<const void, 4>* view : {&kv.k, &kv.v}) {
      view->shape[1] = tokens;
      view->strides[1] = 0;
    }
  }
  const Extents2 table{s.batch, columns};
  kv.table = d.one_in(2) ? BlockTable(d.view<const std::int32_t>(table))
                         : BlockTable(d.view<const std::int64_t>(table));
  kv.kv_lens = lens;
  const auto rows = d.offsets(s.batch, s.q_len);
  const AttentionOptions options =
      draw_options(d, {1, s.batch, s.heads, s.kv_heads, s.q_len, keys, 0, s.head_dim, s.value_dim});
  attention(d.elements<const void>(Extents3{s.q_len, s.heads, s.head_dim}), kv, rows,
            d.elements<void>(Extents3{s.q_len, s.heads, s.value_dim}), options);
}

void call_merge(Draws& d) {
  const Sizes s(d);
  const Extents4 extents{s.batch, s.heads, s.q_len, s.value_dim};
  const Extents3 rows{s.batch, s.heads, s.q_len};
  if (d.one_in(2)) {
    merge(draw_state<const float>(d, extents), draw_state<const float>(d, extents),
          draw_state<float>(d, extents));
  } else {
    const auto part = [&] {
      return AttentionResult<const float>{d.view<const float>(extents), d.view<const float>(rows)};
    };
    merge(part(), part(), AttentionResult<float>{d.view<float>(extents), d.view<float>(rows)});
  }
}

}  // namespace rapt::test
