// Masks and biases of -inf that hide whole stretches of keys: padding, documents, bands, all keys
// of a row. They have the bits of calls in which the hidden keys do not exist.
#include "rapt/ragged.hpp"
#include "reference/scalar.hpp"
#include "support/check_every_isa.hpp"
#include "support/on_every_isa.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// A mask [batch, 1, 1, kv_len] that hides the keys from each sequence's length on, and what it
/// hides.
struct PaddingMask {
  PaddingMask(const std::vector<std::int64_t>& lens, std::int64_t kv_len, MaskMeaning meaning)
      : values(new bool[lens.size() * static_cast<std::size_t>(kv_len)]) {
    const auto batch = static_cast<std::int64_t>(lens.size());
    bool* next = values.get();
    for (const std::int64_t len : lens) {
      for (std::int64_t j = 0; j < kv_len; ++j) {
        *next++ = (j < len) == (meaning == MaskMeaning::keep);
      }
    }
    mask = {{values.get(), {batch, 1, 1, kv_len}}, meaning};
  }
  std::unique_ptr<bool[]> values;
  BoolMask mask;
};

/// The problem's outputs with these options.
Outputs run_with(const Problem& problem, AttentionOptions options) {
  Outputs outputs(problem.spec);
  write_to(outputs, options);
  attention(problem.q, problem.k, problem.v, outputs.out, options);
  return outputs;
}

void poison_from(const Problem& problem, const std::vector<std::int64_t>& lens, float x) {
  const Shape& s = problem.spec.shape;
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t j = lens[static_cast<std::size_t>(b)]; j < s.kv_len; ++j) {
      for (std::int64_t h = 0; h < s.kv_heads; ++h) {
        for (std::int64_t d = 0; d < s.head_dim; ++d) problem.k(b, h, j, d) = x;
        for (std::int64_t d = 0; d < s.value_dim; ++d) problem.v(b, h, j, d) = x;
      }
    }
  }
}

Spec all_outputs(const Shape& shape) {
  return {.shape = shape,
          .lse = true,
          .weights = true,
          .weight_sums = WeightSums::per_head,
          .state_out = true};
}

}  // namespace

TEST_CASE("a padding mask has the bits of the lengths that it describes") {
  const std::vector<std::int64_t> lens{600, 257, 0, 3};
  for (const std::int64_t q_len : {1, 5, 40}) {
    CAPTURE(q_len);
    Spec spec = all_outputs({4, 4, 2, q_len, 600, 32, 32});
    spec.mask.align = Mask::Align::offset;
    const Problem problem(spec);
    AttentionOptions by_lens = problem.options;
    by_lens.kv_lens = lens;
    const Outputs want = run_with(problem, by_lens);
    for (const float x : {kNaN, kInfinity}) {
      poison_from(problem, lens, x);
      for (const MaskMeaning meaning : {MaskMeaning::keep, MaskMeaning::drop}) {
        const PaddingMask padding(lens, spec.shape.kv_len, meaning);
        on_every_isa([&] {
          AttentionOptions by_mask = problem.options;
          by_mask.bool_mask = padding.mask;
          CHECK(same_bits(run_with(problem, by_mask), want));
        });
      }
    }
  }
}

TEST_CASE("a mask of documents that begin with key blocks has the bits of the ragged call") {
  const std::vector<std::int64_t> rows{0, 256, 768, 1000};
  const Shape shape{1, 2, 1, 1000, 1000, 32, 32};
  const Problem problem(Spec{.shape = shape, .lse = true});
  std::vector<unsigned char> values;
  const auto document = [&](std::int64_t i) { return (i >= rows[1] ? 1 : 0) + (i >= rows[2]); };
  for (std::int64_t i = 0; i < shape.q_len; ++i) {
    for (std::int64_t j = 0; j < shape.kv_len; ++j) values.push_back(document(i) == document(j));
  }
  const auto packed = [](const auto& view) {
    return TensorView<const float, 3>(view.data, {view.shape[2], view.shape[1], view.shape[3]},
                                      {view.strides[2], view.strides[1], view.strides[3]});
  };
  Outputs want(problem.spec);
  const TensorView<float, 4>& out = want.out;
  AttentionOptions options = problem.options;
  write_to(want, options);
  attention(packed(problem.q), packed(problem.k), packed(problem.v),
            {out.data, {1000, 2, 32}, {out.strides[2], out.strides[1], 1}},
            RaggedRows{.q = rows, .kv = rows}, options);
  options = problem.options;
  options.bool_mask.values = {reinterpret_cast<const bool*>(values.data()), {1, 1, 1000, 1000}};
  on_every_isa([&] { CHECK(same_bits(run_with(problem, options), want)); });
}

TEST_CASE("rows whose every key a mask or bias hides give zeros and an lse of -inf") {
  const Shape shape{2, 4, 2, 20, 530, 16, 16};
  const Problem problem(all_outputs(shape));
  const std::vector<unsigned char> all(530, 1);
  const std::vector<float> bias(530, -kInfinity);
  AttentionOptions by_mask = problem.options, by_bias = problem.options;
  by_mask.bool_mask = {{reinterpret_cast<const bool*>(all.data()), {1, 1, 1, 530}},
                       MaskMeaning::drop};
  by_bias.bias = {bias.data(), {1, 1, 1, 530}};
  for (const AttentionOptions& options : {by_mask, by_bias}) {
    on_every_isa([&] {
      const Outputs got = run_with(problem, options);
      for (std::int64_t h = 0; h < shape.heads; ++h) {
        CHECK(got.lse(1, h, 19) == -kInfinity);
        CHECK(got.out(1, h, 19, 15) == 0.0f);
        CHECK(got.weights(1, h, 19, 529) == 0.0f);
        CHECK(got.weight_sums(1, h, 529) == 0.0f);
        CHECK(got.state.l(1, h, 19) == 0.0f);
      }
    });
  }
}

TEST_CASE("every ISA gives the bits of the scalar statement for masks of every structure") {
  constexpr unsigned kPerHead = kOverBatch, kPerQuery = kOverBatch | kOverHeads;
  constexpr unsigned kShared = kOverHeads | kOverQueries;
  // Two seeds: borders at column tiles, and anywhere with holes.
  for (const std::uint64_t seed : {2u, 1u}) {
    for (const auto& [q_len, group] :
         {std::pair<std::int64_t, std::int64_t>{1, 2}, {2, 1}, {100, 2}}) {
      for (const unsigned broadcast : {kPerHead, kPerQuery, kShared, kPerQuery | kKeysFirst}) {
        for (const Hides hides :
             {Hides::padding, Hides::documents, Hides::band, Hides::whole_rows, Hides::nothing}) {
          Spec spec = all_outputs({2, 2 * group, 2, q_len, 600, 16, 16});
          spec.weights = broadcast == kPerHead;  // weights rule out split keys
          spec.seed = seed;
          if (seed == 1) spec.layout = Layout::bshd;  // kv heads share items when decoding
          spec.bool_mask = seed == 1 ? MaskMeaning::keep : MaskMeaning::drop;
          spec.bool_mask_broadcast = broadcast;
          spec.bool_mask_hides = hides;
          check_every_isa(spec);
          if (broadcast == kPerQuery) spec.soft_cap = 20.0f;
          spec.bias = true;
          spec.bias_broadcast = broadcast;
          spec.bias_hides = hides;
          spec.bool_mask_hides = Hides::padding;
          spec.mask = causal_bottom_right();
          check_every_isa(spec);
          spec.bool_mask.reset();
          check_every_isa(spec);
        }
      }
    }
  }
}

TEST_CASE("a bias of -inf has the bits of a mask, whatever the scores of hidden keys are") {
  Spec spec = all_outputs({1, 2, 2, 70, 600, 24, 24});
  spec.bias = true;
  spec.bias_broadcast = kOverHeads;
  for (const Hides hides : {Hides::documents, Hides::padding, Hides::whole_rows}) {
    spec.bias_hides = hides;
    const Problem problem(spec);
    std::vector<float> bias = problem.bias_storage;
    std::vector<unsigned char> keep;
    for (float& x : bias) {
      keep.push_back(x != -kInfinity);
      if (x == -kInfinity) x = kNaN;
    }
    AttentionOptions by_mask = problem.options;
    by_mask.bias.data = bias.data();
    by_mask.bool_mask.values = {reinterpret_cast<const bool*>(keep.data()), by_mask.bias.shape};
    on_every_isa(
        [&] { CHECK(same_bits(run_with(problem, by_mask), run_with(problem, problem.options))); });
  }
}

}  // namespace rapt::test
