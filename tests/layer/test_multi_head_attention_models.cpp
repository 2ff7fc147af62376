// The layer with a model's options: QK-norm and RoPE in its configuration, and all projections in
// one matrix.
#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

LayerProblem layer_of_a_model(std::uint64_t seed, std::int64_t value_dim = 12) {
  LayerProblem p = make_layer(seed, config_of(40, 8, 2, 12, value_dim));
  add_norm_and_rope(p, seed + 100);
  return p;
}

void check_every_isa(const LayerProblem& p, const std::vector<float>& x, std::int64_t batch,
                     const AttentionOptions& options) {
  const std::vector<float> expected = reference_layer(p, x, x, batch, options);
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    CHECK(same_bits(run_self(p, x, batch, options), expected));
  }
}

TEST_CASE("norm and rotation of the configuration reach q and k of the layer, on every ISA") {
  const std::int64_t batch = 2, tokens = 37;
  LayerProblem p = layer_of_a_model(1, 20);
  const std::vector<float> x = tokens_of(2, batch * tokens * 40);
  const std::vector<float> both = run_self(p, x, batch);
  SUBCASE("both") {}
  SUBCASE("only RoPE") {
    p.config.qk_norm_epsilon.reset();
    p.query_norm.clear();
    p.key_norm.clear();
    CHECK_FALSE(same_bits(run_self(p, x, batch), both));
  }
  SUBCASE("only QK-norm, weights all 1") {
    p.config.rope = {};
    p.rope = nullptr;
    p.query_norm.clear();
    p.key_norm.clear();
    CHECK_FALSE(same_bits(run_self(p, x, batch), both));
  }
  check_every_isa(p, x, batch, {});
  check_every_isa(p, x, batch, {.mask = causal()});
}

TEST_CASE("positions of a call are rows of the layer's table") {
  const std::int64_t tokens = 9;
  const LayerProblem p = layer_of_a_model(11);
  const std::vector<float> x = tokens_of(12, tokens * 40);
  const std::vector<std::int64_t> positions{5, 6, 7, 9, 11, 100, 101, 4000, 4095};
  const TensorView<const std::int64_t, 2> view(positions.data(), {1, tokens});
  const AttentionOptions options{.rope = {.q_positions = view, .k_positions = view}};
  check_every_isa(p, x, 1, options);
  CHECK_FALSE(same_bits(run_self(p, x, 1, options), run_self(p, x, 1)));
}

TEST_CASE("an option that the configuration already sets, or excludes, is refused by name") {
  const LayerProblem p = layer_of_a_model(21);
  const std::vector<float> x = tokens_of(22, 3 * 40);
  const auto refused = [&](const AttentionOptions& options) {
    return sentence_of([&] { (void)run_self(p, x, 1, options); });
  };
  CHECK(refused({}) == "");
  CHECK(refused({.qk_norm = QkNorm{}}) == "qk_norm: given, and the layer's configuration has one");
  CHECK(refused({.rope = {.table = *p.rope}}) ==
        "rope.table: given, and the layer's configuration has one");
  CHECK(refused({.rope = {.rotate_keys = false}}) ==
        "rope: rotate_keys = false contradicts the layer's configuration, which rotates them");
  // A layer without norm and table uses those of the call.
  LayerProblem plain = make_layer(21, config_of(40, 8, 2, 12, 12));
  const AttentionOptions given{.qk_norm = QkNorm{p.query_norm, p.key_norm, 1e-5f},
                               .rope = {.table = *p.rope}};
  CHECK(same_bits(run_self(plain, x, 1, given), run_self(p, x, 1)));
}

TEST_CASE("a norm or table that does not fit the heads is refused") {
  LayerProblem p = layer_of_a_model(31);
  const auto refused = [&] { return sentence_of([&] { (void)p.layer(); }); };
  CHECK(refused() == "");
  SUBCASE("length") {
    p.key_norm.push_back(1.0f);
    CHECK(refused() == "weights.key_norm: length 13 does not match head_dim 12");
  }
  SUBCASE("weights without a norm") {
    p.config.qk_norm_epsilon.reset();
    CHECK(refused() == "weights.query_norm: given, and config.qk_norm_epsilon is not");
  }
  SUBCASE("epsilon") {
    p.config.qk_norm_epsilon = -1.0f;
    CHECK(refused() == "config.qk_norm_epsilon: -1.000000 is not a number of at least 0");
  }
  SUBCASE("table") {
    const RopeTable wide(Rope::half, {.rotary_dims = 14, .positions = 4});
    p.config.rope = wide;
    CHECK(refused() == "config.rope: pairs 7 is not within 1 and half of head_dim 12");
  }
}

TEST_CASE("fused projections equal separate ones, in both orders of rows") {
  for (const bool bias : {true, false}) {
    CAPTURE(bias);
    const LayerProblem p = make_layer(41, config_of(40, 8, 2, 12, 20), {.bias = bias});
    const std::vector<float> x = tokens_of(42, 7 * 40);
    const std::vector<float> expected = run_self(p, x, 1);
    for (const FusedRows order : {FusedRows::q_k_v, FusedRows::by_kv_head}) {
      const Fused fused = fuse(p, order);
      std::vector<float> transposed(fused.weight.size());
      for (std::int64_t r = 0; r < fused.rows; ++r) {
        for (std::int64_t d = 0; d < 40; ++d) {
          transposed[static_cast<std::size_t>(d * fused.rows + r)] =
              fused.weight[static_cast<std::size_t>(r * 40 + d)];
        }
      }
      using Matrix = TensorView<const float, 2>;
      for (const Matrix& qkv : {Matrix(fused.weight.data(), {fused.rows, 40}),
                                Matrix(transposed.data(), {40, fused.rows}).swapped(0, 1)}) {
        const MultiHeadAttention layer(
            p.config, MultiHeadAttentionWeights::from_fused(p.config, order, qkv, fused.bias,
                                                            p.output.packed()));
        std::vector<float> y = nans(7 * 40);
        layer.forward({x.data(), {1, 7, 40}}, {y.data(), {1, 7, 40}});
        CHECK(same_bits(y, expected));
      }
    }
  }
}

TEST_CASE("a fused matrix of the wrong size is refused with both sizes") {
  const LayerProblem p = make_layer(51, config_of(40, 8, 2, 12, 20));
  const Fused fused = fuse(p, FusedRows::q_k_v);
  const auto refused = [&](MultiHeadAttentionConfig config, std::int64_t rows, std::int64_t columns,
                           std::size_t biases) {
    return sentence_of([&] {
      (void)MultiHeadAttentionWeights::from_fused(
          config, FusedRows::q_k_v, {fused.weight.data(), {rows, columns}},
          std::span(fused.bias).first(biases), p.output.packed());
    });
  };
  CHECK(refused(p.config, 160, 40, 160) == "");
  CHECK(refused(p.config, 159, 40, 0) ==
        "qkv: rows 159 does not match num_heads * head_dim + num_kv_heads * (head_dim + "
        "value_dim) = 160");
  CHECK(refused(p.config, 160, 39, 0) == "qkv: columns 39 does not match model_dim 40");
  CHECK(refused(p.config, 160, 40, 159) == "qkv_bias: length 159 does not match qkv's rows 160");
  MultiHeadAttentionConfig cross = p.config;
  cross.kv_model_dim = 8;
  CHECK(refused(cross, 160, 40, 0) ==
        "config.kv_model_dim: of a fused projection 8 does not match model_dim 40");
}

}  // namespace
}  // namespace rapt::test
