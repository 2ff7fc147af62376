// The layer with weights, inputs and outputs of 16 bits: the bits of projections and attention by
// the scalar statement, with f32 between them.
#include "layer/layer_problem.hpp"
#include "rapt/kv_cache.hpp"
#include "rapt/rapt.hpp"
#include "reference/elements.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"
#include "support/typed.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace rapt::test {
namespace {

constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16};

/// The layer's weights and its input rounded to types, and memory with their bits.
struct TypedLayer {
  TypedLayer(LayerProblem problem, DType weights, DType x_type, std::int64_t tokens)
      : p(std::move(problem)), x(tokens_of(201, tokens * p.config.model_dim)) {
    for (Projection* each : {&p.query, &p.key, &p.value, &p.output}) {
      round_to(weights, each->weight);
    }
    round_to(x_type, x);
    x_view = typed_view<2>({x.data(), {tokens, p.config.model_dim}}, x, x_type, x_memory);
    const auto packed = [&](Projection& each) {
      if (each.out == 0) return Linear();
      std::vector<std::uint16_t> memory;
      return Linear(
          typed_view<2>({each.weight.data(), {each.out, each.in}}, each.weight, weights, memory),
          each.bias);
    };
    layer.emplace(p.config,
                  MultiHeadAttentionWeights{packed(p.query), packed(p.key), packed(p.value),
                                            packed(p.output), p.query_norm, p.key_norm});
  }
  TypedLayer(const TypedLayer&) = delete;

  /// The statement's result for the one sequence, rounded to a type.
  std::vector<float> want(DType y_type, const AttentionOptions& options) const {
    std::vector<float> y = reference_layer(p, x, x, 1, options);
    round_to(y_type, y);
    return y;
  }

  LayerProblem p;
  std::vector<float> x;
  std::vector<std::uint16_t> x_memory;
  TensorView<const void, 2> x_view;
  std::optional<MultiHeadAttention> layer;
};

/// A result of a type and its elements.
struct TypedResult {
  TypedResult(DType type_, std::int64_t rows, std::int64_t width)
      : type(type_), shape{rows, width}, memory(static_cast<std::size_t>(rows * width), 7.0f) {}
  TensorView<void, 2> view() { return {memory.data(), type, shape}; }
  std::vector<float> elements() {
    std::vector<float> all;
    const TensorView<const void, 2> rows = view();
    for (std::int64_t i = 0; i < shape[0]; ++i) {
      for (std::int64_t c = 0; c < shape[1]; ++c) all.push_back(reference::element(rows, i, c));
    }
    return all;
  }
  DType type;
  std::array<std::int64_t, 2> shape;
  std::vector<float> memory;
};

template <class Void>
TensorView<Void, 3> one_sequence(const TensorView<Void, 2>& rows) {
  return {rows.data, rows.dtype, {1, rows.shape[0], rows.shape[1]}};
}

}  // namespace

TEST_CASE("a layer of any types has the bits of the scalar statement, with and without a cache") {
  constexpr std::int64_t kTokens = 21;
  const AttentionOptions causal_options{.mask = causal()};
  for (const bool has_output : {true, false}) {
    for (const DType weights : kTypes) {
      for (const DType x_type : kTypes) {
        LayerProblem problem =
            make_layer(91, config_of(24, 4, 2, 6, 6), {.bias = true, .output = has_output});
        add_norm_and_rope(problem, 17);
        const TypedLayer typed(std::move(problem), weights, x_type, kTokens);
        for (const DType y_type : kTypes) {
          CAPTURE(has_output);
          CAPTURE(dtype_name(weights));
          CAPTURE(dtype_name(x_type));
          CAPTURE(dtype_name(y_type));
          const std::vector<float> want = typed.want(y_type, causal_options);
          for (const Isa isa : available_isas()) {
            CAPTURE(isa_name(isa));
            const ForcedIsa forced(isa);
            TypedResult y(y_type, kTokens, typed.p.output_features());
            typed.layer->forward(one_sequence(typed.x_view), one_sequence(y.view()),
                                 causal_options);
            CHECK(same_bits(y.elements(), want));

            const MultiHeadAttentionConfig& c = typed.layer->config();
            KvCache cache({.kv_heads = c.num_kv_heads,
                           .head_dim = c.head_dim,
                           .value_dim = c.value_dim,
                           .page_tokens = 32});
            const std::vector<std::int64_t> sequences{cache.add()};
            TypedResult chunks(y_type, kTokens, typed.p.output_features());
            const std::vector<std::int64_t> first{0, 13}, rest{13, kTokens};
            for (const auto& rows : {first, rest}) {
              typed.layer->forward(typed.x_view, cache, {sequences, rows}, chunks.view(),
                                   causal_options);
            }
            CHECK(same_bits(chunks.elements(), want));
          }
        }
      }
    }
  }
}

TEST_CASE("a context of another type than x is projected in its own") {
  constexpr std::int64_t kTokens = 9, kKeys = 33;
  const LayerProblem p = make_layer(93, config_of(24, 4, 2, 6, 6));
  std::vector<float> x = tokens_of(94, kTokens * 24), context = tokens_of(95, kKeys * 24);
  round_to(DType::bf16, x);
  round_to(DType::f16, context);
  std::vector<std::uint16_t> x_memory, context_memory;
  const auto x_view = typed_view<2>({x.data(), {kTokens, 24}}, x, DType::bf16, x_memory);
  const auto context_view =
      typed_view<2>({context.data(), {kKeys, 24}}, context, DType::f16, context_memory);
  const std::vector<float> want = reference_layer(p, x, context, 1);
  TypedResult y(DType::f32, kTokens, p.output_features());
  p.layer().forward(one_sequence(x_view), one_sequence(context_view), one_sequence(y.view()));
  CHECK(same_bits(y.elements(), want));

  const MultiHeadAttention layer = p.layer();
  KvCache cache({.kv_heads = 2, .head_dim = 6, .value_dim = 6, .page_tokens = 32});
  const std::vector<std::int64_t> sequences{cache.add()}, keys{0, kKeys}, queries{0, kTokens};
  layer.append_context(context_view, cache, sequences, keys);
  TypedResult cached(DType::f32, kTokens, p.output_features());
  layer.cross_forward(x_view, cache, {sequences, queries}, cached.view());
  CHECK(same_bits(cached.elements(), want));
}

TEST_CASE("one matrix of 16 bits with all projections gives the bits of separate ones") {
  for (const FusedRows order : {FusedRows::q_k_v, FusedRows::by_kv_head}) {
    for (const DType type : {DType::bf16, DType::f16}) {
      const TypedLayer typed(make_layer(97, config_of(24, 4, 2, 6, 10)), type, DType::f32, 11);
      Fused fused = fuse(typed.p, order);
      std::vector<std::uint16_t> memory;
      const auto matrix =
          typed_view<2>({fused.weight.data(), {fused.rows, 24}}, fused.weight, type, memory);
      const MultiHeadAttention layer(
          typed.p.config, MultiHeadAttentionWeights::from_fused(
                              typed.p.config, order, matrix, fused.bias, typed.p.output.packed()));
      TypedResult y(DType::f32, 11, typed.p.output_features());
      layer.forward(one_sequence(typed.x_view), one_sequence(y.view()));
      CHECK(same_bits(y.elements(), typed.want(DType::f32, {})));
    }
  }
}

TEST_CASE("a layer names tensors of other types, and writes nothing") {
  const TypedLayer typed(make_layer(99, config_of(24, 4, 2, 6, 6)), DType::f32, DType::f32, 3);
  TypedResult y(DType::f32, 3, typed.p.output_features());
  const std::vector<float> before = y.memory;
  TensorView<const void, 3> x = one_sequence(typed.x_view), odd = x;
  x.dtype = DType::i8;
  CHECK(sentence_of([&] { typed.layer->forward(x, one_sequence(y.view())); }) ==
        "x: type i8 is none of f32, bf16 and f16");
  odd.data = static_cast<const char*>(odd.data) + 1;
  odd.dtype = DType::f16;
  CHECK(sentence_of([&] {
          typed.layer->forward(one_sequence(typed.x_view), odd, one_sequence(y.view()));
        }) == "context: the address is not a multiple of the 2 bytes of an element");
  y.type = DType::i16;
  CHECK(sentence_of([&] {
          typed.layer->forward(one_sequence(typed.x_view), one_sequence(y.view()));
        }) == "y: type i16 is none of f32, bf16 and f16");
  CHECK(same_bits(y.memory, before));
  CHECK(sentence_of([&] {
          (void)MultiHeadAttentionWeights::from_fused(typed.p.config, FusedRows::q_k_v,
                                                      {y.memory.data(), DType::u8, {48, 24}});
        }) == "qkv: type u8 is none of f32, bf16 and f16");
}

}  // namespace rapt::test
