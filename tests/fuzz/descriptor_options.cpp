#include "fuzz/descriptor_options.hpp"

#include <algorithm>
#include <span>

namespace rapt::test {
namespace {

Mask draw_mask(Draws& d, std::int64_t sequences, bool places) {
  Mask mask;
  mask.kind = d.one_of({Mask::Kind::none, Mask::Kind::causal});
  if (d.one_in(3)) mask.window_left = d.number(d.below(6));
  if (d.one_in(4)) mask.window_right = d.number(d.below(6));
  if (mask.kind == Mask::Kind::causal && mask.window_right != 0 && d.one_in(4)) {
    mask.prefix_len = d.number(d.below(6));
  }
  if (d.one_in(30)) mask.prefix_lens = d.numbers(sequences, [&] { return d.number(d.below(6)); });
  if (!places && !d.wrong()) return mask;
  if (d.one_in(3)) mask.align = d.one_of({Mask::Align::offset, Mask::Align::bottom_right});
  if (d.one_in(3)) mask.query_offset = d.number(d.below(4));
  if (d.one_in(12)) {
    mask.query_offsets = d.numbers(sequences, [&] { return d.number(d.below(4)); });
  }
  return mask;
}

Extents4 mask_extents(Draws& d, const Scores& s) {
  return {broadcast(d, s.batch), broadcast(d, s.heads), broadcast(d, s.q_len),
          broadcast(d, s.keys)};
}

void keep_scores(const ScoreTile&) {}

/// Options before the softmax; `places`: whether the call uses the mask's query positions.
void draw_inputs(Draws& d, const Scores& s, bool places, AttentionOptions& o) {
  o.mask = draw_mask(d, s.sequences, places);
  if (d.one_in(5)) {
    o.qk_norm = QkNorm{.q_weight = d.span<float>(d.one_in(2) ? 0 : s.head_dim),
                       .k_weight = {},
                       .epsilon = d.real(1e-6f),
                       .normalize_keys = s.kv_rows > 0 || d.wrong()};
    if (o.qk_norm->normalize_keys) o.qk_norm->k_weight = d.span<float>(s.head_dim);
  }
  if (d.one_in(4) && (s.head_dim > 1 || d.wrong())) {
    o.rope.table = draw_table(d, s.head_dim);
    o.rope.rotate_keys = s.kv_rows > 0 || d.wrong();
    if (d.one_in(2)) {
      o.rope.q_positions = d.view<const std::int64_t>(Extents2{broadcast(d, s.batch), s.q_len});
    }
    if (o.rope.rotate_keys && d.one_in(2)) {
      o.rope.k_positions = d.view<const std::int64_t>(Extents2{broadcast(d, s.batch), s.kv_rows});
    }
  }
  if (d.one_in(4)) {
    o.bool_mask = {d.view<const bool>(mask_extents(d, s)),
                   d.one_of({MaskMeaning::keep, MaskMeaning::drop})};
  }
  if (d.one_in(4)) o.bias = d.elements<const void>(mask_extents(d, s));
  if (d.one_in(6)) o.soft_cap = d.real(30.0f);
  if (d.one_in(6)) o.softmax_scale = d.real(0.5f);
  if (d.one_in(8)) {
    static std::array<float, 16> slopes;
    for (float& slope : slopes) slope = d.real(0.25f);
    o.alibi_slopes =
        std::span(slopes).first(static_cast<std::size_t>(d.wrong() ? d.below(9) : s.heads));
  }
  if (d.one_in(8)) {
    static std::array<float, 16> sinks;
    for (float& sink : sinks) sink = d.real(-1.0f);
    o.sinks = std::span(sinks).first(static_cast<std::size_t>(d.wrong() ? d.below(9) : s.heads));
  }
  if (d.one_in(12)) o.score_callback = ScoreCallback(keep_scores);
}

}  // namespace

Sizes::Sizes(Draws& d)
    : batch(d.below(3)),
      kv_heads(1 + d.below(2)),
      heads(kv_heads * (1 + d.below(3))),
      q_len(d.below(5)),
      kv_len(d.one_in(20) ? 300 : q_len + d.below(5)),
      head_dim(1 + d.below(9)),
      value_dim(d.below(9)) {
  if (d.one_in(12)) heads = 0;
  if (d.one_in(20)) heads = kv_heads = 0;
  if (d.one_in(10)) kv_len = 0;
  if (d.one_in(3)) batch = 1;
  if (d.one_in(4)) head_dim = 32;
}

std::int64_t broadcast(Draws& d, std::int64_t extent) { return d.one_in(3) ? 1 : extent; }

RopeView draw_table(Draws& d, std::int64_t head_dim) {
  const Extents2 extents{400, std::max<std::int64_t>(1, head_dim / 2)};
  return {d.one_of({Rope::half, Rope::interleaved}), d.view<const float>(extents),
          d.view<const float>(extents)};
}

AttentionOptions draw_options(Draws& d, const Scores& s, bool places) {
  AttentionOptions o;
  if (d.one_in(3)) return o;
  draw_inputs(d, s, places, o);
  if (d.one_in(4)) o.lse = d.view<float>(Extents3{s.batch, s.heads, s.q_len});
  if (d.one_in(4)) {
    std::int64_t rows = s.q_len;
    if (s.q_len > 0 && d.one_in(3)) {
      std::int64_t query = 0;
      rows = 1 + d.below(s.q_len);
      o.weights_rows = d.numbers(rows, [&] { return d.number(query++); });
    }
    o.weights = d.view<float>(Extents4{s.batch, s.heads, rows, s.keys});
  }
  if (d.one_in(4)) {
    o.weight_sums =
        d.view<float>(Extents3{s.sequences, d.one_in(2) ? s.heads : s.kv_heads, s.keys});
  }
  const Extents4 state{s.batch, s.heads, s.q_len, s.value_dim};
  if (d.one_in(6)) o.state_in = draw_state<const float>(d, state);
  if (d.one_in(6)) o.state_out = draw_state<float>(d, state);
  return o;
}

}  // namespace rapt::test
