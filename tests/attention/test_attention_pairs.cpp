// attention() on every ISA against the scalar statement, bit for bit: features in pairs, and all of
// them at once.
#include "support/check_every_isa.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

/// A feature; features of the same group exclude each other.
struct Feature {
  const char* group;
  const char* name;
  std::function<void(Spec&)> add;
};

void add_bool_mask(Spec& spec, MaskMeaning meaning, unsigned broadcast) {
  spec.bool_mask = meaning;
  spec.bool_mask_broadcast = broadcast;
}

void add_bias(Spec& spec, unsigned broadcast) {
  spec.bias = true;
  spec.bias_broadcast = broadcast;
}

void add_heads(Spec& spec, std::int64_t heads, std::int64_t kv_heads) {
  spec.shape.heads = heads;
  spec.shape.kv_heads = kv_heads;
}

void add_dims(Spec& spec, std::int64_t head_dim, std::int64_t value_dim) {
  spec.shape.head_dim = head_dim;
  spec.shape.value_dim = value_dim;
}

std::vector<Feature> mask_features() {
  constexpr auto kKeep = MaskMeaning::keep;
  constexpr auto kDrop = MaskMeaning::drop;
  return {
      {"range", "causal", [](Spec& s) { s.mask = causal(); }},
      {"range", "causal, offset 37", [](Spec& s) { s.mask = causal(37); }},
      {"range", "causal, offset -3", [](Spec& s) { s.mask = causal(-3); }},
      {"range", "bottom-right", [](Spec& s) { s.mask = causal_bottom_right(); }},
      {"range", "causal per sequence",
       [](Spec& s) {
         s.mask = causal();
         s.offset_per_sequence = true;
       }},
      {"range", "bottom-right, not causal",
       [](Spec& s) { s.mask.align = Mask::Align::bottom_right; }},
      {"length", "kv_lens", [](Spec& s) { s.kv_lens = true; }},
      {"bool", "keep", [](Spec& s) { add_bool_mask(s, kKeep, kNoBroadcast); }},
      {"bool", "drop, one batch and head",
       [](Spec& s) { add_bool_mask(s, kDrop, kOverBatch | kOverHeads); }},
      {"bool", "keep, one query", [](Spec& s) { add_bool_mask(s, kKeep, kOverQueries); }},
      {"bool", "drop, one key", [](Spec& s) { add_bool_mask(s, kDrop, kOverKeys); }},
      {"bool", "keep, stride 0 over heads and queries",
       [](Spec& s) { add_bool_mask(s, kKeep, kOverHeads | kOverQueries | kByStride); }},
      {"bias", "bias", [](Spec& s) { add_bias(s, kNoBroadcast); }},
      {"bias", "bias, one batch and head", [](Spec& s) { add_bias(s, kOverBatch | kOverHeads); }},
      {"bias", "bias, one query", [](Spec& s) { add_bias(s, kOverQueries); }},
      {"bias", "bias, one key", [](Spec& s) { add_bias(s, kOverKeys); }},
      {"bias", "bias, stride 0 over heads and keys",
       [](Spec& s) { add_bias(s, kOverHeads | kOverKeys | kByStride); }},
  };
}

std::vector<Feature> shape_features() {
  return {
      {"heads", "4 heads on 2", [](Spec& s) { add_heads(s, 4, 2); }},
      {"heads", "3 heads on 1", [](Spec& s) { add_heads(s, 3, 1); }},
      {"heads", "2 heads on 2", [](Spec& s) { add_heads(s, 2, 2); }},
      {"dims", "narrow values", [](Spec& s) { add_dims(s, 24, 7); }},
      {"dims", "wide values", [](Spec& s) { add_dims(s, 5, 67); }},
      {"dims", "dims of 1", [](Spec& s) { add_dims(s, 1, 1); }},
      {"dims", "dims of 33", [](Spec& s) { add_dims(s, 33, 33); }},
      {"scale", "scale 0", [](Spec& s) { s.softmax_scale = 0.0f; }},
      {"scale", "scale -1.5", [](Spec& s) { s.softmax_scale = -1.5f; }},
      {"scale", "scale 30", [](Spec& s) { s.softmax_scale = 30.0f; }},
      {"layout", "bshd", [](Spec& s) { s.layout = Layout::bshd; }},
      {"layout", "packed", [](Spec& s) { s.layout = Layout::packed; }},
      {"layout", "padded", [](Spec& s) { s.layout = Layout::padded; }},
      {"batch", "batch 3", [](Spec& s) { s.shape.batch = 3; }},
      {"lse", "lse", [](Spec& s) { s.lse = true; }},
      {"weights", "weights", [](Spec& s) { s.weights = true; }},
      {"weights", "weights of some rows",
       [](Spec& s) {
         s.weights = true;
         s.weights_rows = true;
       }},
      {"sums", "weight sums", [](Spec& s) { s.weight_sums = WeightSums::per_head; }},
      {"sums", "weight sums per kv head", [](Spec& s) { s.weight_sums = WeightSums::per_kv_head; }},
      {"state in", "state in", [](Spec& s) { s.state_in = true; }},
      {"state out", "state out", [](Spec& s) { s.state_out = true; }},
  };
}

/// These modify the mask that "range" features set, so they come later.
std::vector<Feature> score_features() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return {
      {"window", "window 20 left", [](Spec& s) { s.mask = s.mask.windowed(20, kNoWindow); }},
      {"window", "window 3 right", [](Spec& s) { s.mask = s.mask.windowed(kNoWindow, 3); }},
      {"window", "window 0, 0", [](Spec& s) { s.mask = s.mask.windowed(0, 0); }},
      {"window", "window 260, 40", [](Spec& s) { s.mask = s.mask.windowed(260, 40); }},
      {"window", "window 5, 0 per sequence",
       [](Spec& s) {
         s.mask = s.mask.windowed(5, 0);
         s.offset_per_sequence = s.mask.align == Mask::Align::offset;
       }},
      {"window", "prefix 30",
       [](Spec& s) {
         s.mask.kind = Mask::Kind::causal;
         s.mask = s.mask.with_prefix(30);
       }},
      {"window", "prefix 40, window 25 left",
       [](Spec& s) {
         s.mask.kind = Mask::Kind::causal;
         s.mask = s.mask.windowed(25, kNoWindow).with_prefix(40);
       }},
      {"window", "prefix 40, window 25 left, 7 right",
       [](Spec& s) {
         s.mask.kind = Mask::Kind::causal;
         s.mask = s.mask.windowed(25, 7).with_prefix(40);
       }},
      {"window", "prefix 280, window 9 right",
       [](Spec& s) {
         s.mask.kind = Mask::Kind::causal;
         s.mask = s.mask.windowed(kNoWindow, 9).with_prefix(280);
       }},
      {"window", "prefix per sequence",
       [](Spec& s) {
         s.mask.kind = Mask::Kind::causal;
         s.prefix_per_sequence = true;
       }},
      {"rope", "RoPE half", [](Spec& s) { s.rope = Rope::half; }},
      {"rope", "RoPE interleaved",
       [](Spec& s) {
         s.rope = Rope::interleaved;
         s.rope_positions = true;
       }},
      {"rope", "RoPE half, all dims, keys rotated",
       [](Spec& s) {
         s.rope = Rope::half;
         s.rope_whole = true;
         s.rope_rotate_keys = false;
       }},
      {"rope", "RoPE interleaved, all dims",
       [](Spec& s) {
         s.rope = Rope::interleaved;
         s.rope_whole = true;
       }},
      {"norm", "QK-norm", [](Spec& s) { s.qk_norm = 1e-6f; }},
      {"norm", "QK-norm with weights",
       [](Spec& s) {
         s.qk_norm = 0.25f;
         s.qk_norm_weights = true;
       }},
      {"norm", "QK-norm of queries with weights",
       [](Spec& s) {
         s.qk_norm = 0.0f;
         s.qk_norm_weights = true;
         s.qk_norm_keys = false;
       }},
      {"cap", "soft cap 0.5", [](Spec& s) { s.soft_cap = 0.5f; }},
      {"cap", "soft cap 30", [](Spec& s) { s.soft_cap = 30.0f; }},
      {"alibi", "ALiBi 0.5", [](Spec& s) { s.alibi_slope = 0.5f; }},
      {"alibi", "ALiBi -0.01", [](Spec& s) { s.alibi_slope = -0.01f; }},
      {"alibi", "ALiBi that hides all but near keys", [](Spec& s) { s.alibi_slope = 1e37f; }},
      {"callback", "callback bends", [](Spec& s) { s.callback = Callback::bend; }},
      {"callback", "callback hides", [](Spec& s) { s.callback = Callback::hide; }},
      {"callback", "callback poisons", [](Spec& s) { s.callback = Callback::poison; }},
      {"sink", "sink 0.5", [](Spec& s) { s.sink = 0.5f; }},
      {"sink", "sink 60", [](Spec& s) { s.sink = 60.0f; }},
      {"sink", "sink -90", [](Spec& s) { s.sink = -90.0f; }},
      {"sink", "sink -inf", [](Spec& s) { s.sink = -kInfinity; }},
  };
}

std::vector<Feature> all_features() {
  std::vector<Feature> features = mask_features();
  for (const Feature& feature : score_features()) features.push_back(feature);
  for (const Feature& feature : shape_features()) features.push_back(feature);
  return features;
}

struct Lengths {
  std::int64_t q_len;
  std::int64_t kv_len;
};

/// Each pair of features is combined with three of these in turn, so that each feature meets all of
/// them.
constexpr Lengths kPairLengths[] = {{1, 1},    {15, 17},  {16, 16}, {17, 33},  {31, 15}, {5, 256},
                                    {33, 255}, {13, 257}, {1, 600}, {40, 300}, {3, 513}};

}  // namespace

TEST_CASE("every ISA gives the bits of the scalar statement for every pair of features") {
  const std::vector<Feature> features = all_features();
  constexpr std::size_t kLengths = std::size(kPairLengths);
  const std::size_t per_pair = quick() ? 1 : 3;
  const std::size_t largest = quick() ? 8 : kLengths;  // The long ones come last.
  std::uint64_t seed = 1;
  for (std::size_t i = 0; i < features.size(); ++i) {
    for (std::size_t j = i + 1; j < features.size(); ++j) {
      if (std::string(features[i].group) == features[j].group) continue;
      if (quick() && (i + j) % 3 != 0) continue;
      for (std::size_t n = 0; n < per_pair; ++n) {
        Spec spec;
        const Lengths lengths = kPairLengths[(i + j * 4 + n * 4) % largest];
        spec.shape = {.batch = 2, .q_len = lengths.q_len, .kv_len = lengths.kv_len};
        spec.seed = seed++;
        features[i].add(spec);
        features[j].add(spec);
        check_every_isa(spec);
      }
    }
  }
}

TEST_CASE("every ISA gives the bits of the scalar statement for pairs over many key blocks") {
  // One key, one block and all keys beyond 2048, and more than twice as many.
  constexpr std::int64_t kKeys[] = {2049, 2304, 4096, 4700};
  const std::vector<Feature> features = all_features();
  const std::size_t count = features.size();
  for (std::size_t i = 0; i < count; i += quick() ? 5 : 1) {
    std::size_t j = (i + 23) % count;
    while (std::string(features[i].group) == features[j].group) j = (j + 1) % count;
    Spec spec;
    spec.shape = {.batch = 2,
                  .q_len = 1 + static_cast<std::int64_t>(i % 3),
                  .kv_len = kKeys[i % std::size(kKeys)]};
    spec.seed = 5000 + i;
    features[std::min(i, j)].add(spec);
    features[std::max(i, j)].add(spec);
    check_every_isa(spec);
  }
}

TEST_CASE("every ISA gives the bits of the scalar statement with every feature at once") {
  for (std::uint64_t seed = 0; seed < (quick() ? 4u : 40u); ++seed) {
    Random random(seed);
    Spec spec;
    spec.shape = {.batch = 1 + random.below(3),
                  .heads = 6,
                  .kv_heads = 2,
                  .q_len = 1 + random.below(quick() ? 20 : 70),
                  .kv_len = 1 + random.below(quick() ? 300 : 700),
                  .head_dim = 1 + random.below(40),
                  .value_dim = 1 + random.below(70)};
    spec.layout = static_cast<Layout>(random.below(4));
    spec.mask = seed % 3 == 0 ? causal_bottom_right() : causal(random.below(600) - 50);
    if (seed % 4 == 1) spec.mask.kind = Mask::Kind::none;
    if (seed % 4 != 2) spec.mask = spec.mask.windowed(random.below(500), random.below(90) - 1);
    if (seed % 5 != 1) spec.qk_norm = 0.01f;
    spec.qk_norm_weights = seed % 2 == 0 && spec.qk_norm;
    if (seed % 3 != 1) spec.rope = seed % 2 == 0 ? Rope::half : Rope::interleaved;
    spec.rope_whole = seed % 4 < 2;
    spec.rope_positions = true;
    if (seed % 5 != 3) spec.soft_cap = 0.5f + 30.0f * std::abs(random.uniform());
    if (seed % 5 != 4) spec.alibi_slope = random.normal();
    if (seed % 5 != 2) spec.sink = 3.0f * random.normal();
    spec.callback = static_cast<Callback>(seed % 4);
    spec.kv_lens = seed % 2 == 0;
    add_bool_mask(spec, MaskMeaning::keep, static_cast<unsigned>(random.below(32)));
    add_bias(spec, static_cast<unsigned>(random.below(32)));
    spec.lse = true;
    spec.weights = true;
    spec.weights_rows = seed % 2 == 1;
    spec.weight_sums = static_cast<WeightSums>(seed % 3);
    spec.state_in = seed % 4 >= 2;
    spec.state_out = seed % 3 != 1;
    spec.seed = seed + 9000;
    check_every_isa(spec);
  }
}

}  // namespace rapt::test
