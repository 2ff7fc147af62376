// Every argument that the layer refuses: the sentence names it and its values, and y is unchanged.
#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

const MultiHeadAttentionConfig kConfig{.model_dim = 24,
                                       .num_heads = 4,
                                       .num_kv_heads = 2,
                                       .head_dim = 5,
                                       .value_dim = 7,
                                       .kv_model_dim = 24,
                                       .output_dim = 12};

/// The error of a layer with a changed configuration.
std::string refused(const std::function<void(MultiHeadAttentionConfig&)>& change,
                    LayerSwitches switches = {}) {
  const LayerProblem p = make_layer(1, kConfig, switches);
  MultiHeadAttentionConfig config = kConfig;
  config.output_dim = switches.output ? 12 : 0;
  change(config);
  return sentence_of([&] {
    const MultiHeadAttention layer(
        config, {p.query.packed(), p.key.packed(), p.value.packed(), p.output.packed()});
  });
}

using Config = MultiHeadAttentionConfig;

TEST_CASE("fields left at 0 take their defaults") {
  LayerProblem p = make_layer(2, {.model_dim = 24,
                                  .num_heads = 4,
                                  .num_kv_heads = 4,
                                  .head_dim = 6,
                                  .value_dim = 6,
                                  .kv_model_dim = 24,
                                  .output_dim = 24});
  p.config = {.model_dim = 24, .num_heads = 4};
  const MultiHeadAttention layer = p.layer();
  const Config& c = layer.config();
  CHECK(c.num_kv_heads == 4);
  CHECK(c.head_dim == 6);
  CHECK(c.value_dim == 6);
  CHECK(c.kv_model_dim == 24);
  CHECK(c.output_dim == 24);
  CHECK_FALSE(c.softmax_scale.has_value());
}

TEST_CASE("without an output projection the output has the features of the concatenated heads") {
  LayerProblem p = make_layer(3, kConfig, {.output = false});
  p.config.output_dim = 0;
  CHECK(p.layer().config().output_dim == 4 * 7);
  CHECK(
      refused([](Config& c) { c.output_dim = 24; }, {.output = false}) ==
      "config.output_dim: without an output projection 24 does not match num_heads * value_dim 28");
}

TEST_CASE("an invalid configuration is refused with its values") {
  CHECK(refused([](Config&) {}) == "");
  CHECK(refused([](Config& c) { c.model_dim = 0; }) == "config.model_dim: 0 is below 1");
  CHECK(refused([](Config& c) { c.num_heads = -4; }) == "config.num_heads: -4 is below 1");
  CHECK(refused([](Config& c) { c.num_kv_heads = -1; }) == "config.num_kv_heads: -1 is below 1");
  CHECK(refused([](Config& c) { c.num_kv_heads = 3; }) ==
        "config.num_kv_heads: 3 does not divide num_heads 4");
  CHECK(refused([](Config& c) { c.head_dim = -5; }) == "config.head_dim: -5 is below 1");
  CHECK(refused([](Config& c) { c.value_dim = -7; }) == "config.value_dim: -7 is below 1");
  CHECK(refused([](Config& c) { c.kv_model_dim = -1; }) == "config.kv_model_dim: -1 is below 1");
  CHECK(refused([](Config& c) { c.output_dim = -1; }) == "config.output_dim: -1 is below 1");
  CHECK(refused([](Config& c) {
          c.model_dim = 26;
          c.head_dim = 0;
        }) == "config.head_dim: not given, and model_dim 26 is not a multiple of num_heads 4");
  const std::int64_t huge = std::numeric_limits<std::int64_t>::max() / 2;
  CHECK(refused([&](Config& c) { c.head_dim = huge; }) ==
        "config.head_dim: 4 heads of " + std::to_string(huge) +
            " are more features than can be counted");
}

TEST_CASE("a projection that disagrees with the configuration is refused") {
  CHECK(refused([](Config& c) { c.model_dim = 20; }) ==
        "weights.query: in_features 24 does not match model_dim 20");
  CHECK(refused([](Config& c) { c.head_dim = 6; }) ==
        "weights.query: out_features 20 does not match num_heads * head_dim 24");
  CHECK(refused([](Config& c) { c.num_kv_heads = 4; }) ==
        "weights.key: out_features 10 does not match num_kv_heads * head_dim 20");
  CHECK(refused([](Config& c) { c.kv_model_dim = 10; }) ==
        "weights.key: in_features 24 does not match kv_model_dim 10");
  CHECK(refused([](Config& c) { c.value_dim = 8; }) ==
        "weights.value: out_features 14 does not match num_kv_heads * value_dim 16");
  CHECK(refused([](Config& c) { c.output_dim = 13; }) ==
        "weights.output: out_features 12 does not match output_dim 13");
  const LayerProblem p = make_layer(4, kConfig);
  CHECK(sentence_of([&] {
          const MultiHeadAttention layer(kConfig, {p.query.packed(), {}, p.value.packed(), {}});
        }).find("config.output_dim") == 0);
  CHECK(sentence_of([&] {
          const MultiHeadAttention layer(
              kConfig, {p.query.packed(), {}, p.value.packed(), p.output.packed()});
        }) == "weights.key: the projection is empty");
}

/// A valid call of forward(), for tests to make invalid one tensor at a time.
struct Call {
  LayerProblem problem = make_layer(5, kConfig);
  MultiHeadAttention layer = problem.layer();
  std::vector<float> memory = normal_floats(4096, 6);
  TensorView<const float, 3> x{memory.data(), {2, 3, 24}};
  TensorView<const float, 3> context{memory.data() + 1024, {2, 5, 24}};
  TensorView<float, 3> y{memory.data() + 2048, {2, 3, 12}};
  AttentionOptions options{};

  /// The error; checks that nothing was written. "" if there is none.
  std::string error() {
    const std::vector<float> before = memory;
    const std::string sentence = sentence_of([&] { layer.forward(x, context, y, options); });
    CHECK(same_bits(memory, before) == !sentence.empty());
    return sentence;
  }
};

std::string spoilt(const std::function<void(Call&)>& change) {
  Call call;
  change(call);
  return call.error();
}

TEST_CASE("tensors of the wrong shape are refused") {
  CHECK(spoilt([](Call& c) { c.x.shape[2] = 20; }) ==
        "x: features 20 does not match the layer's model_dim 24");
  CHECK(spoilt([](Call& c) { c.context.shape[2] = 23; }) ==
        "context: features 23 does not match the layer's kv_model_dim 24");
  CHECK(spoilt([](Call& c) { c.context.shape[0] = 1; }) ==
        "context: batch 1 does not match x's batch 2");
  CHECK(spoilt([](Call& c) { c.y.shape[0] = 1; }) == "y: batch 1 does not match x's batch 2");
  CHECK(spoilt([](Call& c) { c.y.shape[1] = 4; }) == "y: tokens 4 does not match x's tokens 3");
  CHECK(spoilt([](Call& c) { c.y.shape[2] = 11; }) ==
        "y: features 11 does not match the layer's output_dim 12");
}

TEST_CASE("tensors that no memory can hold are refused") {
  CHECK(spoilt([](Call& c) { c.x.shape[1] = -1; }) == "x: extent -1 of dimension 1 is below 0");
  CHECK(spoilt([](Call& c) { c.x.data = nullptr; }) ==
        "x: no memory is given for a tensor that has elements");
  CHECK(spoilt([](Call& c) { c.context.strides[2] = 2; }) ==
        "context: the stride 2 of the last dimension is not 1");
  CHECK(spoilt([](Call& c) { c.y.strides[2] = 0; }) ==
        "y: the stride 0 of the last dimension is not 1");
  CHECK(spoilt([](Call& c) { c.x.strides[0] = std::int64_t{1} << 62; }) ==
        "x: shape and strides reach beyond all memory");
  CHECK(spoilt([](Call& c) { c.y.strides[0] = 0; }) ==
        "y: the stride 0 of dimension 0 makes elements share memory");
  CHECK(spoilt([](Call& c) { c.y.strides[1] = 11; }) ==
        "y: the stride 11 of dimension 1 makes elements share memory");
  CHECK(spoilt([](Call& c) { c.y.strides[0] = -35; }) ==
        "y: the stride -35 of dimension 0 makes elements share memory");
}

TEST_CASE("keys too large for any workspace are out of memory, and y does not change") {
  Call c;
  // One token, broadcast 2^60 times.
  c.context = {c.memory.data() + 1024, {2, std::int64_t{1} << 60, 24}, {0, 0, 1}};
  const std::vector<float> before = c.memory;
  const auto forward = [&] { c.layer.forward(c.x, c.context, c.y); };
  CHECK(sentence_of(forward, ErrorCode::out_of_memory).find("1152921504606846976 tokens") !=
        std::string::npos);
  CHECK(same_bits(c.memory, before));
  c.context = {c.memory.data() + 1024, {2, 5, 24}};
  CHECK(c.error() == "");
}

TEST_CASE("an output that overlaps an input or another output is refused") {
  CHECK(spoilt([](Call& c) { c.y.data = c.memory.data() + 143; }) == "y: overlaps x");
  CHECK(spoilt([](Call& c) { c.y.data = c.memory.data() + 1024 - 71; }) == "y: overlaps context");
  CHECK(spoilt([](Call& c) {
          c.options.lse = {c.memory.data() + 2048 + 71, {2, 4, 3}};
        }) == "y: overlaps lse");
  CHECK(spoilt([](Call& c) {
          c.options.weights = {c.memory.data() + 1024, {2, 4, 3, 5}};
        }) == "weights: overlaps context");
  CHECK(spoilt([](Call& c) {
          c.options.bias = {c.memory.data() + 2048, {1, 1, 3, 5}};
        }) == "y: overlaps bias");
}

TEST_CASE("errors found by attention() leave y unchanged, with and without a projection") {
  for (const bool has_output : {true, false}) {
    CAPTURE(has_output);
    Call c;
    c.problem = make_layer(7, kConfig, {.bias = true, .output = has_output});
    if (!has_output) c.problem.config.output_dim = 0;
    c.layer = c.problem.layer();
    c.y = {c.memory.data() + 2048, {2, 3, c.problem.output_features()}};
    CHECK(c.error() == "");
    const std::vector<std::int64_t> one_length{5};
    c.options.kv_lens = one_length;
    CHECK(c.error().find("kv_lens") == 0);
    c.options = {};
    c.options.lse = {c.memory.data() + 3072, {2, 3, 4}};
    CHECK(c.error().find("lse") == 0);
  }
}

TEST_CASE("self-attention needs keys as wide as the queries") {
  MultiHeadAttentionConfig config = kConfig;
  config.kv_model_dim = 10;
  const MultiHeadAttention layer = make_layer(8, config).layer();
  std::vector<float> memory(1024);
  CHECK(sentence_of([&] {
          layer.forward({memory.data(), {1, 2, 24}}, {memory.data() + 512, {1, 2, 12}});
        }) ==
        "context: the layer's kv_model_dim 10 does not match model_dim 24, which "
        "self-attention needs");
}

}  // namespace
}  // namespace rapt::test
