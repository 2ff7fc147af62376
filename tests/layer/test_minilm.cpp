// A trained encoder: the six attention blocks of all-MiniLM-L6-v2 on a real sentence, against
// PyTorch's results (scripts/make_minilm_expected.py), on every ISA, thread count and batch.
#include "layer/layer_bounds.hpp"
#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/absent.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <numbers>
#include <optional>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kLayers = 6, kDim = 384, kHeads = 12, kHeadDim = 32;

/// The six layers and the sentence's hidden states.
struct MiniLm {
  std::vector<LayerProblem> layers;
  std::int64_t tokens = 0;
  std::vector<std::vector<float>> inputs;    ///< per layer [tokens, 384]
  std::vector<std::vector<float>> expected;  ///< likewise
};

std::string model_path() {
  const char* const set = std::getenv("RAPT_MINILM");
  return set != nullptr ? set : RAPT_TESTS_FOLDER "/../third_party/minilm/model.safetensors";
}

Projection load_projection(const SafetensorsFile& file, const std::string& name) {
  const FileTensor& weight = file.at(name + ".weight");
  REQUIRE(weight.shape == std::vector<std::int64_t>{kDim, kDim});
  return {kDim, kDim, weight.copy_as_float(), file.at(name + ".bias").copy_as_float()};
}

/// [layers, tokens, 384], one vector per layer.
std::vector<std::vector<float>> load_states(const std::string& name) {
  const NpyFile file(RAPT_TESTS_FOLDER "/data/" + name);
  const std::vector<std::int64_t>& shape = file.tensor().shape;
  REQUIRE(shape.size() == 3);
  REQUIRE(shape[0] == kLayers);
  REQUIRE(shape[2] == kDim);
  const std::vector<float> all = file.tensor().copy_as_float();
  std::vector<std::vector<float>> states;
  for (auto layer = all.begin(); layer != all.end(); layer += shape[1] * kDim) {
    states.emplace_back(layer, layer + shape[1] * kDim);
  }
  return states;
}

MiniLm load() {
  const SafetensorsFile file(model_path());
  const MultiHeadAttentionConfig config = config_of(kDim, kHeads, kHeads, kHeadDim, kHeadDim);
  MiniLm model;
  for (std::int64_t n = 0; n < kLayers; ++n) {
    const std::string prefix = "encoder.layer." + std::to_string(n) + ".attention.";
    model.layers.push_back({config, load_projection(file, prefix + "self.query"),
                            load_projection(file, prefix + "self.key"),
                            load_projection(file, prefix + "self.value"),
                            load_projection(file, prefix + "output.dense")});
  }
  model.inputs = load_states("minilm_inputs.npy");
  model.expected = load_states("minilm_expected.npy");
  model.tokens = static_cast<std::int64_t>(model.inputs[0].size()) / kDim;
  return model;
}

/// The model, read once; if it was not fetched, nothing, and the test case counts as skipped.
const MiniLm* minilm() {
  static const std::optional<MiniLm> model =
      std::filesystem::exists(model_path()) ? std::optional(load()) : std::nullopt;
  if (!model) {
    skip("no model at " + model_path() +
         "; scripts/fetch_minilm.sh gets it, RAPT_MINILM names another");
  }
  return model ? &*model : nullptr;
}

TEST_SUITE_BEGIN("trained encoder");

TEST_CASE("a trained encoder's attention is PyTorch's, layer by layer") {
  const MiniLm* const model = minilm();
  if (model == nullptr) return;
  for (std::size_t n = 0; n < kLayers; ++n) {
    CAPTURE(n);
    const std::vector<float> y = run_self(model->layers[n], model->inputs[n], 1);
    const Estimate off = estimate_layer(model->layers[n], model->inputs[n]);
    // Both sides are f32 and round independently: their deviations add in quadrature.
    double most = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double difference = double{y[i]} - double{model->expected[n][i]};
      most = std::max(most, std::abs(difference) / (std::numbers::sqrt2 * off.deviation[i]));
    }
    CHECK(most <= kDeviations);
  }
}

TEST_CASE("a trained encoder's attention has the same bits on every ISA and thread count") {
  const MiniLm* const model = minilm();
  if (model == nullptr) return;
  const tbb::global_control allowed(tbb::global_control::max_allowed_parallelism, 4);
  for (std::size_t n = 0; n < kLayers; ++n) {
    CAPTURE(n);
    const std::vector<float>& x = model->inputs[n];
    const std::vector<float> expected = reference_layer(model->layers[n], x, x, 1);
    for (const Isa isa : available_isas()) {
      CAPTURE(isa_name(isa));
      const ForcedIsa forced(isa);
      for (const int threads : {1, 4}) {
        CAPTURE(threads);
        std::vector<float> y;
        tbb::task_arena(threads).execute([&] { y = run_self(model->layers[n], x, 1); });
        CHECK(same_bits(y, expected));
      }
    }
  }
}

TEST_CASE("in a trained encoder two padded sentences have the bits that each has alone") {
  const MiniLm* const model = minilm();
  if (model == nullptr) return;
  // The second sentence: the first words of the first one, then padding that holds NaN.
  const std::int64_t tokens = model->tokens, length = 9;
  const std::vector<std::int64_t> kv_lens{tokens, length};
  AttentionOptions options;
  options.kv_lens = kv_lens;
  for (std::size_t n = 0; n < kLayers; ++n) {
    CAPTURE(n);
    const LayerProblem& layer = model->layers[n];
    const std::vector<float>& x = model->inputs[n];
    const std::vector<float> words(x.begin(), x.begin() + length * kDim);
    std::vector<float> both = x;
    both.insert(both.end(), words.begin(), words.end());
    both.resize(2 * x.size(), kNaN);
    const std::vector<float> y = run_self(layer, both, 2, options);
    const auto second = y.begin() + tokens * kDim;
    CHECK(same_bits({y.begin(), second}, run_self(layer, x, 1)));
    CHECK(same_bits({second, second + length * kDim}, run_self(layer, words, 1)));
  }
}

TEST_SUITE_END();

}  // namespace
}  // namespace rapt::test
