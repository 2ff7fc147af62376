// The layer against the same layer composed from the scalar statement, bit for bit; and against
// itself in other batches, layouts and thread counts.
#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace rapt::test {
namespace {

struct Case {
  const char* name;
  MultiHeadAttentionConfig config;
  LayerSwitches switches;
  std::int64_t batch, tokens, kv_tokens;  // kv_tokens 0: self-attention
};

std::vector<Case> cases() {
  MultiHeadAttentionConfig cross = config_of(24, 3, 3, 8, 8);
  cross.kv_model_dim = 40;
  cross.output_dim = 17;
  return {
      {"self", config_of(16, 4, 4, 4, 4), {}, 1, 5, 0},
      {"batch", config_of(32, 2, 2, 16, 16), {}, 3, 17, 0},
      {"no bias", config_of(32, 2, 2, 16, 16), {.bias = false}, 2, 33, 0},
      {"no output", config_of(32, 2, 2, 16, 16), {.output = false}, 2, 33, 0},
      {"grouped", config_of(48, 6, 2, 8, 8), {}, 2, 31, 0},
      {"one kv head", config_of(48, 6, 1, 8, 8), {.bias = false, .output = false}, 2, 16, 0},
      {"wide values", config_of(20, 4, 2, 5, 33), {}, 2, 15, 0},
      {"narrow values", config_of(20, 2, 2, 33, 3), {.output = false}, 1, 19, 0},
      {"cross", cross, {}, 2, 7, 19},
      {"cross to one key", cross, {.bias = false}, 3, 4, 1},
      {"several key blocks", config_of(16, 2, 1, 8, 8), {}, 1, 9, quick() ? 257 : 600},
      {"deep", config_of(520, 1, 1, 16, 16), {}, 1, 3, 0},
  };
}

/// The layer's results on every ISA.
void check_every_isa(const LayerProblem& p, const std::vector<float>& x,
                     const std::vector<float>& context, std::int64_t batch,
                     const AttentionOptions& options = {}) {
  const std::vector<float> expected = reference_layer(p, x, context, batch, options);
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    CHECK(same_bits(run_layer(p, x, context, batch, options), expected));
  }
}

TEST_CASE("a layer has the bits of its parts called one by one, on every ISA") {
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    const LayerProblem p = make_layer(11, c.config, c.switches);
    const std::vector<float> x = tokens_of(21, c.batch * c.tokens * c.config.model_dim);
    const std::vector<float> context =
        c.kv_tokens == 0 ? x : tokens_of(22, c.batch * c.kv_tokens * c.config.kv_model_dim);
    check_every_isa(p, x, context, c.batch);
  }
}

TEST_CASE("masks, lengths and biases reach the attention of the layer") {
  const std::int64_t batch = 2, tokens = 21;
  const LayerProblem p = make_layer(31, config_of(24, 4, 2, 6, 10));
  const std::vector<float> x = tokens_of(32, batch * tokens * 24);
  const std::vector<float> bias = tokens_of(33, 4 * tokens);
  bool keep[21];
  for (int j = 0; j < 21; ++j) keep[j] = j % 3 != 1;
  const std::vector<std::int64_t> kv_lens{tokens, 9};
  const std::vector<std::int64_t> offsets{0, 4};

  AttentionOptions options;
  const std::vector<float> plain = run_self(p, x, batch, options);
  SUBCASE("causal") { options.mask = causal(); }
  SUBCASE("causal from the bottom right") { options.mask = causal_bottom_right(); }
  SUBCASE("causal with an offset per sequence") { options.mask = causal(offsets); }
  SUBCASE("lengths") { options.kv_lens = kv_lens; }
  SUBCASE("a boolean mask") { options.bool_mask = {{keep, {1, 1, 1, tokens}}, MaskMeaning::keep}; }
  SUBCASE("a bias per head") { options.bias = {bias.data(), {1, 4, 1, tokens}}; }
  SUBCASE("a scale") { options.softmax_scale = 0.75f; }
  check_every_isa(p, x, x, batch, options);
  CHECK_FALSE(same_bits(run_self(p, x, batch, options), plain));
}

TEST_CASE("lse and weights of the layer are those of its attention") {
  const std::int64_t batch = 2, tokens = 18, heads = 4;
  const LayerProblem p = make_layer(41, config_of(24, heads, 2, 6, 10));
  const std::vector<float> x = tokens_of(42, batch * tokens * 24);
  std::vector<float> lse = nans(batch * heads * tokens), expected_lse = lse;
  std::vector<float> weights = nans(batch * heads * tokens * tokens), expected_weights = weights;
  const auto options = [&](std::vector<float>& lse_out, std::vector<float>& weights_out) {
    AttentionOptions o{.mask = causal()};
    o.lse = {lse_out.data(), {batch, heads, tokens}};
    o.weights = {weights_out.data(), {batch, heads, tokens, tokens}};
    return o;
  };
  const auto expected = reference_layer(p, x, x, batch, options(expected_lse, expected_weights));
  CHECK(same_bits(run_self(p, x, batch, options(lse, weights)), expected));
  CHECK(same_bits(lse, expected_lse));
  CHECK(same_bits(weights, expected_weights));
}

TEST_CASE("a call's scale overrides the configuration's, which overrides the default") {
  LayerProblem p = make_layer(51, config_of(16, 2, 2, 8, 8));
  const std::vector<float> x = tokens_of(52, 6 * 16);
  AttentionOptions half{};
  half.softmax_scale = 0.5f;
  const std::vector<float> by_default = run_self(p, x, 1);
  const std::vector<float> by_call = run_self(p, x, 1, half);
  CHECK_FALSE(same_bits(by_default, by_call));
  p.config.softmax_scale = 0.5f;
  CHECK(same_bits(run_self(p, x, 1), by_call));
  p.config.softmax_scale = 0.0f;
  CHECK_FALSE(same_bits(run_self(p, x, 1), by_default));
  CHECK(same_bits(run_self(p, x, 1, half), by_call));
}

TEST_CASE("weights per head give the same layer as one matrix of all heads") {
  const MultiHeadAttentionConfig c = config_of(16, 4, 4, 4, 4);
  const LayerProblem p = make_layer(61, c);
  // [heads, in, e] with the numbers of the [heads * e, in] matrix.
  const auto per_head = [&](const Projection& projection) {
    std::vector<float> w;
    for (std::int64_t h = 0; h < 4; ++h) {
      for (std::int64_t d = 0; d < 16; ++d) {
        for (std::int64_t e = 0; e < 4; ++e) w.push_back(projection.matrix()(h * 4 + e, d));
      }
    }
    return Linear::from_heads({w.data(), {4, 16, 4}}, projection.bias);
  };
  const MultiHeadAttention layer(
      c, {per_head(p.query), per_head(p.key), per_head(p.value), p.output.packed()});
  const std::vector<float> x = tokens_of(62, 5 * 16);
  std::vector<float> y = nans(5 * 16);
  layer.forward({x.data(), {1, 5, 16}}, {y.data(), {1, 5, 16}});
  CHECK(same_bits(y, run_self(p, x, 1)));
}

TEST_CASE(
    "sizes of zero are valid: without tokens nothing is written, without keys y is the bias") {
  const LayerProblem p = make_layer(121, config_of(16, 4, 2, 4, 4));
  const MultiHeadAttention layer = p.layer();
  const std::vector<float> x = tokens_of(122, 2 * 3 * 16);
  std::vector<float> y = nans(2 * 3 * 16);
  const std::vector<float> untouched = y;
  layer.forward({x.data(), {0, 3, 16}}, {y.data(), {0, 3, 16}});
  layer.forward({x.data(), {2, 0, 16}}, {y.data(), {2, 0, 16}});
  layer.forward({nullptr, DType::f32, {0, 0, 16}}, {nullptr, DType::f32, {0, 0, 16}});
  layer.forward({nullptr, DType::f32, {2, 0, 16}}, {x.data(), {2, 3, 16}},
                {nullptr, DType::f32, {2, 0, 16}});
  CHECK(same_bits(y, untouched));

  layer.forward({x.data(), {2, 3, 16}}, {nullptr, DType::f32, {2, 0, 16}}, {y.data(), {2, 3, 16}});
  std::vector<float> expected;
  for (int row = 0; row < 6; ++row) {
    expected.insert(expected.end(), p.output.bias.begin(), p.output.bias.end());
  }
  CHECK(same_bits(y, expected));
}

}  // namespace
}  // namespace rapt::test
