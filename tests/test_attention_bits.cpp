// attention() on every ISA against the scalar statement, bit for bit: features in pairs, sizes
// around every lane, tile and block.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "dispatch/dispatch.hpp"
#include "problems.hpp"
#include "rapt/attention.hpp"
#include "reference/scalar.hpp"
#include "test_level.hpp"

namespace rapt::test {
namespace {

/// A feature: features of one group exclude each other.
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
      {"range", "causal per sequence", [](Spec& s) { s.offset_per_sequence = true; }},
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
  };
}

std::vector<Feature> all_features() {
  std::vector<Feature> features = mask_features();
  for (const Feature& feature : shape_features()) features.push_back(feature);
  return features;
}

struct Lengths {
  std::int64_t q_len;
  std::int64_t kv_len;
};

/// Each pair of features meets three of these in turn, so that each feature meets all of them.
constexpr Lengths kPairLengths[] = {{1, 1},    {15, 17},  {16, 16}, {17, 33},  {31, 15}, {5, 256},
                                    {33, 255}, {13, 257}, {1, 600}, {40, 300}, {3, 513}};

/// Runs the problem on every ISA and compares all outputs with the scalar statement's.
void check_every_isa(const Problem& problem) {
  const Outputs want = run(reference::attention, problem);
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    const bool same = same_bits(run(attention, problem), want);
    CHECK_MESSAGE(same, isa_name(isa), ": ", describe(problem.spec));
  }
}

void check_every_isa(const Spec& spec) { check_every_isa(Problem(spec)); }

/// Sizes around the lanes, the register tiles of every ISA, the key block and its double.
std::vector<std::int64_t> interesting_lengths() {
  std::vector<std::int64_t> lengths{1, 15, 16, 17, 31, 33, 255, 256, 257, 300, 600};
  for (const Isa isa : available_isas()) {
    const std::int64_t rows = dispatch::kernels_of(isa).tiles.rows;
    for (const std::int64_t length : {rows - 1, rows, rows + 1}) lengths.push_back(length);
  }
  return lengths;
}

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

TEST_CASE("every ISA gives the bits of the scalar statement for every pair of lengths") {
  const std::vector<std::int64_t> lengths = interesting_lengths();
  std::uint64_t seed = 5000;
  for (const std::int64_t q_len : lengths) {
    for (const std::int64_t kv_len : lengths) {
      if (quick() && (q_len * kv_len > 20'000 || seed % 2 == 0)) {
        ++seed;
        continue;
      }
      Spec spec;
      spec.shape = {.q_len = q_len, .kv_len = kv_len, .head_dim = 4, .value_dim = 3};
      spec.lse = true;
      spec.seed = seed++;
      if (seed % 2 == 0) spec.mask = causal_bottom_right();
      check_every_isa(spec);
    }
  }
}

TEST_CASE("every ISA gives the bits of the scalar statement for every head and value dim") {
  for (const std::int64_t dim : {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 80, 96, 128}) {
    for (const std::int64_t value_dim : {std::int64_t{1}, dim, 129 - dim}) {
      Spec spec;
      spec.shape = {.heads = 2,
                    .q_len = 7,
                    .kv_len = quick() ? 19 : 270,
                    .head_dim = dim,
                    .value_dim = value_dim};
      spec.weights = true;
      spec.seed = static_cast<std::uint64_t>(100 + dim);
      check_every_isa(spec);
    }
  }
  for (const std::int64_t dim : {255, 256, 257, 300, 512, 513}) {  // around the chunks of q
    Spec spec;
    spec.shape = {.q_len = 5, .kv_len = 40, .head_dim = dim, .value_dim = dim};
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
    spec.kv_lens = seed % 2 == 0;
    add_bool_mask(spec, MaskMeaning::keep, static_cast<unsigned>(random.below(32)));
    add_bias(spec, static_cast<unsigned>(random.below(32)));
    spec.lse = true;
    spec.weights = true;
    spec.seed = seed + 9000;
    check_every_isa(spec);
  }
}

TEST_CASE("every ISA gives the bits of the scalar statement for NaN, infinities and overflow") {
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kDenorm = std::numeric_limits<float>::denorm_min();
  const float special[] = {std::numeric_limits<float>::quiet_NaN(),
                           std::bit_cast<float>(0xffc12345u),  // a NaN with a sign and a payload
                           kInfinity,
                           -kInfinity,
                           kMax,
                           -kMax,
                           kDenorm,
                           -kDenorm,
                           1e30f,
                           -1e30f,
                           0.0f,
                           -0.0f};
  for (std::uint64_t seed = 0; seed < (quick() ? 10u : 100u); ++seed) {
    Random random(seed);
    Spec spec;
    spec.shape = {.q_len = 14, .kv_len = 1 + random.below(700), .head_dim = 5, .value_dim = 18};
    if (seed % 2 == 0) spec.mask = causal(random.below(300));
    if (seed % 3 == 0) add_bool_mask(spec, MaskMeaning::drop, kNoBroadcast);
    if (seed % 5 == 0) add_bias(spec, kNoBroadcast);
    spec.lse = true;
    spec.weights = true;
    spec.seed = seed;
    Problem problem(spec);
    // From one strange value in all tensors to one in ten.
    for (std::vector<float>* storage :
         {&problem.q_storage, &problem.k_storage, &problem.v_storage, &problem.bias_storage}) {
      const auto size = static_cast<std::int64_t>(storage->size());
      const std::int64_t count = seed % 4 == 0 ? size / 10 : static_cast<std::int64_t>(seed % 4);
      for (std::int64_t n = 0; size > 0 && n < count; ++n) {
        (*storage)[static_cast<std::size_t>(random.below(size))] =
            special[static_cast<std::size_t>(random.below(std::ssize(special)))];
      }
    }
    check_every_isa(problem);
  }
}

TEST_CASE("a zero in the output is +0 where a fold underflows to -0") {
  constexpr std::int64_t kDim = 35;
  constexpr std::int64_t kKeys = kernels::kKeyBlock + 1;
  const std::vector<float> q{1.0f};
  // The first block sums up to the smallest negative number; the second one's maximum is about e^2
  // times larger, and the fold makes -0 of it.
  std::vector<float> k(kKeys, 0.0f);
  k.back() = 2.0f;
  std::vector<float> v(kKeys * kDim, 0.0f);
  std::fill_n(v.begin(), kDim, -std::numeric_limits<float>::denorm_min());
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    std::vector<float> out(kDim, 1.0f);
    attention({q.data(), {1, 1, 1, 1}}, {k.data(), {1, 1, kKeys, 1}},
              {v.data(), {1, 1, kKeys, kDim}}, {out.data(), {1, 1, 1, kDim}});
    CHECK(same_bits(out, std::vector<float>(kDim, 0.0f)));
  }
}

TEST_CASE("causal offsets at the ends of the integers see every key or none") {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  for (const std::int64_t offset : {kMost, kMost - 1, -kMost, -kMost - 1}) {
    Spec spec;
    spec.shape = {.q_len = 3, .kv_len = 300};
    spec.mask = causal(offset);
    spec.lse = true;
    check_every_isa(spec);
    const Problem problem(spec);
    CHECK(std::isfinite(run(attention, problem).lse(0, 0, 2)) == (offset > 0));
  }
}

TEST_CASE("a dimension of size 0 is valid, and no keys give zeros and lse = -inf") {
  for (int zero = 0; zero < 5; ++zero) {
    Spec spec;
    spec.shape = {.batch = 2, .heads = 2, .kv_heads = 2, .q_len = 5, .kv_len = 7};
    Shape& s = spec.shape;
    std::int64_t* const extents[] = {&s.batch, &s.heads, &s.q_len, &s.kv_len, &s.value_dim};
    *extents[zero] = 0;
    if (s.heads == 0) s.kv_heads = 0;
    spec.lse = true;
    spec.weights = true;
    check_every_isa(spec);
  }
}

}  // namespace rapt::test
