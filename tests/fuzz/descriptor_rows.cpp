// Row functions, tables, names and files.
#include "fuzz/descriptor_functions.hpp"
#include "fuzz/descriptor_options.hpp"
#include "rapt/rapt.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <type_traits>
#include <vector>

namespace rapt::test {

/// The view with another type: elements of 16 bits cover half of its memory.
template <class T, int Rank>
auto with_any_type(Draws& d, const TensorView<T, Rank>& view) {
  using Void = std::conditional_t<std::is_const_v<T>, const void, void>;
  TensorView<Void, Rank> any = view;
  any.dtype = d.one_of({DType::f32, DType::bf16, DType::f16});
  return any;
}

void call_linear(Draws& d) {
  const std::int64_t in = 1 + d.below(9), out = 1 + d.below(40), rows = d.below(6);
  const std::int64_t e = 1 + d.below(5);
  const bool heads = d.one_in(2);
  const auto bias = [&](std::int64_t length) { return d.span<float>(d.one_in(2) ? 0 : length); };
  const Linear linear =
      heads ? Linear::from_heads(with_any_type(d, d.view<const float>(Extents3{3, in, e})),
                                 bias(3 * e))
            : Linear(with_any_type(d, d.view<const float>(Extents2{out, in})), bias(out));
  linear.forward(with_any_type(d, d.view<const float>(Extents2{rows, in})),
                 with_any_type(d, d.view<float>(Extents2{rows, heads ? 3 * e : out})));
}

void call_embedding(Draws& d) {
  const std::int64_t features = d.below(9), tokens = d.below(5);
  const auto ids = d.numbers(tokens, [&] { return d.number(d.below(4)); });
  embedding_lookup(d.elements<const void>(Extents2{4, features}), ids,
                   d.elements<void>(Extents2{tokens, features}));
}

void call_rms_norm(Draws& d) {
  const Sizes s(d);
  const auto weight = d.span<float>(d.one_in(2) ? 0 : s.head_dim);
  if (d.one_in(2)) {
    const Extents2 rows{s.q_len, s.head_dim};
    rms_norm(d.elements<const void>(rows), d.elements<void>(rows), weight, d.real(1e-6f));
  } else {
    const Extents4 rows{s.batch, s.heads, s.q_len, s.head_dim};
    rms_norm(d.elements<const void>(rows), d.elements<void>(rows), weight, d.real(1e-6f));
  }
}

/// An output of one element for each row, or none.
std::span<float> draw_row_output(Draws& d, std::int64_t rows) {
  if (d.one_in(2)) return {};
  const TensorView<float, 1> view = d.view<float>(std::array{rows});
  const std::int64_t length = view.shape[0];
  if (view.data == nullptr || length < 0 || length > kMemory / 8) return {};
  return {view.data, static_cast<std::size_t>(length)};
}

void call_layer_norm(Draws& d) {
  const Sizes s(d);
  const auto weight = d.span<float>(d.one_in(2) ? 0 : s.head_dim);
  const auto bias = d.span<float>(d.one_in(2) ? 0 : s.head_dim);
  const bool two = d.one_in(2);
  const std::int64_t rows = two ? s.q_len : s.batch * s.heads * s.q_len;
  const std::span<float> mean = draw_row_output(d, rows), inverse = draw_row_output(d, rows);
  const LayerNormOptions options{.weight = weight,
                                 .bias = bias,
                                 .epsilon = d.real(1e-6f),
                                 .mean = mean,
                                 .inverse_deviation = inverse};
  if (two) {
    const Extents2 shape{s.q_len, s.head_dim};
    layer_norm(d.elements<const void>(shape), d.elements<void>(shape), options);
  } else {
    const Extents4 shape{s.batch, s.heads, s.q_len, s.head_dim};
    layer_norm(d.elements<const void>(shape), d.elements<void>(shape), options);
  }
}

void call_softmax(Draws& d) {
  const Sizes s(d);
  if (d.one_in(2)) {
    const Extents2 shape{s.q_len, s.head_dim};
    softmax(d.elements<const void>(shape), d.elements<void>(shape));
  } else {
    const Extents4 shape{s.batch, s.heads, s.q_len, s.head_dim};
    softmax(d.elements<const void>(shape), d.elements<void>(shape));
  }
}

void call_rope(Draws& d) {
  const Sizes s(d);
  const Extents4 rows{s.batch, s.heads, s.q_len, s.head_dim};
  const RopeView table = draw_table(d, s.head_dim);
  const TensorView<const void, 4> x = d.elements<const void>(rows);
  const TensorView<void, 4> y = d.elements<void>(rows);
  if (d.one_in(2)) {
    apply_rope(x, y, table, d.number(d.below(9)));
  } else {
    apply_rope(x, y, table, d.view<const std::int64_t>(Extents2{broadcast(d, s.batch), s.q_len}));
  }
}

void call_rope_table(Draws& d) {
  using Kind = RopeScaling::Kind;
  RopeScaling scaling;
  scaling.kind = d.one_of({Kind::none, Kind::linear, Kind::ntk, Kind::yarn, Kind::llama3});
  const bool by_length = scaling.kind == Kind::yarn || scaling.kind == Kind::llama3;
  scaling.factor = d.wide_real(scaling.kind == Kind::none ? 1.0 : 4.0);
  scaling.original_positions = d.number(by_length ? 16 : 0);
  scaling.beta_fast = d.wide_real(32.0);
  scaling.beta_slow = d.wide_real(1.0);
  if (scaling.kind == Kind::yarn && d.one_in(2)) scaling.attention_factor = d.wide_real(1.25);
  scaling.low_freq_factor = d.wide_real(1.0);
  scaling.high_freq_factor = d.wide_real(4.0);
  const RopeTable table(d.one_of({Rope::half, Rope::interleaved}),
                        {.rotary_dims = d.count(2 * (1 + d.below(4))),
                         .positions = d.count(1 + d.below(9)),
                         .base = d.wide_real(10000.0),
                         .scaling = scaling});
  const RopeView view = table.view();
  for (const auto& values : {view.cos, view.sin}) {
    for (std::int64_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(values.data[i])) throw WrongResult{"a value of the table is not finite"};
    }
  }
}

void call_t5(Draws& d) {
  const T5Buckets config{.buckets = d.number(2 * (2 + d.below(16))),
                         .max_distance = d.number(40 + d.below(100)),
                         .bidirectional = d.one_in(2)};
  const std::int64_t bucket = t5_bucket(d.number(d.below(200) - 100), config);
  if (bucket < 0 || bucket >= config.buckets) throw WrongResult{"a bucket that does not exist"};
  const std::int64_t heads = d.below(3), q_len = 1 + d.below(5);
  t5_bias(d.view<const float>(Extents2{config.buckets, heads}), config, d.number(q_len),
          d.view<float>(Extents2{heads, q_len + d.below(4)}));
}

void call_names(Draws& d) {
  const auto isa = static_cast<Isa>(d.below(40) - 20);
  const auto dtype = static_cast<DType>(d.below(40) - 20);
  if (isa_name(isa).empty() || dtype_name(dtype).empty()) throw WrongResult{"a name is empty"};
  static_cast<void>(dtype_size(dtype));
  if (isa_available(isa)) return;
  if (d.one_in(2)) force_isa(isa);
  parse_isa(d.one_in(2) ? "" : "sse9");
}

/// A directory that does not exist: a path that is not refused earlier cannot be written or read.
void call_files(Draws& d) {
  std::vector<std::int64_t> shape;
  for (std::int64_t rank = d.below(70); rank > 0; --rank) shape.push_back(d.number(1));
  const float* const data = d.one_in(4) ? nullptr : memory_of<float>();
  switch (d.below(3)) {
    case 0:
      write_npy("/nonexistent/x.npy", data, shape);
      break;
    case 1:
      static_cast<void>(NpyFile("/nonexistent/x.npy"));
      break;
    default:
      static_cast<void>(SafetensorsFile("/nonexistent/x.safetensors"));
  }
}

}  // namespace rapt::test
