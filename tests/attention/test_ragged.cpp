// Ragged batches: every sequence has the bits of a separate call, whatever its neighbours in the
// packed rows; invalid offsets are errors.
#include "rapt/ragged.hpp"
#include "reference/scalar.hpp"
#include "support/arena.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
using View = TensorView<float, 4>;

TensorView<float, 3> packed(const View& view) {
  return {view.data,
          {view.shape[2], view.shape[1], view.shape[3]},
          {view.strides[2], view.strides[1], view.strides[3]}};
}

/// A batch of one whose rows are divided among sequences; rows 0 and the last belong to none.
struct RaggedProblem {
  explicit RaggedProblem(const Spec& spec) : problem(spec) {
    std::int64_t most = 0;
    for (std::size_t s = 0; s + 1 < kv_rows.size(); ++s) {
      most = std::max(most, kv_rows[s + 1] - kv_rows[s]);
    }
    keys = most;
    // A mask or bias covers the keys of the longest sequence.
    AttentionOptions& options = problem.options;
    if (spec.bias) options.bias = options.bias.sliced(3, 0, keys);
    if (spec.bool_mask) options.bool_mask.values = options.bool_mask.values.sliced(3, 0, keys);
    for (const View& view : {problem.k, problem.v}) {
      for (std::int64_t h = 0; h < view.shape[1]; ++h) {
        for (std::int64_t d = 0; d < view.shape[3]; ++d) view(0, h, 0, d) = kNaN;
      }
    }
  }

  static Shape shape() {
    return {.heads = 4, .kv_heads = 2, .q_len = 64, .kv_len = 930, .head_dim = 20, .value_dim = 35};
  }

  /// The sequence alone, by the scalar statement; keys past its length do not exist.
  void expect(std::size_t s, const Outputs& want) const {
    const std::int64_t first = q_rows[s], count = q_rows[s + 1] - first;
    const std::int64_t all = kv_rows[s + 1] - kv_rows[s];
    const std::int64_t length = problem.options.kv_lens.empty() ? all : kv_lens[s];
    AttentionOptions options = problem.options;
    options.kv_lens = {};
    if (!offsets.empty()) options.mask.query_offset = offsets[s];
    options.mask.query_offsets = {};
    if (!options.mask.prefix_lens.empty()) options.mask.prefix_len = options.mask.prefix_lens[s];
    options.mask.prefix_lens = {};
    if (problem.spec.bias) options.bias = options.bias.sliced(2, first, count);
    if (problem.spec.bool_mask) {
      options.bool_mask.values = options.bool_mask.values.sliced(2, first, count);
    }
    RopeOptions& rope = options.rope;
    if (rope.q_positions.data != nullptr) {
      rope.q_positions = rope.q_positions.sliced(1, first, count);
    }
    if (rope.k_positions.data != nullptr) {
      rope.k_positions = rope.k_positions.sliced(1, kv_rows[s], length);
    }
    options.lse = want.lse.sliced(2, first, count);
    if (problem.spec.weights) options.weights = want.weights.sliced(2, first, count);
    options.weight_sums = sums_of(want.weight_sums, s);
    reference::attention(problem.q.sliced(2, first, count), problem.k.sliced(2, kv_rows[s], length),
                         problem.v.sliced(2, kv_rows[s], length), want.out.sliced(2, first, count),
                         options);
  }

  Outputs statement() const {
    Outputs want = outputs();
    for (std::size_t s = 0; s + 1 < q_rows.size(); ++s) expect(s, want);
    return want;
  }

  Outputs library() const {
    Outputs got = outputs();
    AttentionOptions options = problem.options;
    options.lse = got.lse;
    options.weights = got.weights;
    options.weight_sums = got.weight_sums;
    attention(packed(problem.q), packed(problem.k), packed(problem.v), packed(got.out),
              {.q = q_rows, .kv = kv_rows}, options);
    return got;
  }

  /// The weights have as many keys as the longest sequence.
  Outputs outputs() const {
    Spec spec = problem.spec;
    spec.shape.kv_len = keys;
    return Outputs(spec, std::ssize(q_rows) - 1);
  }

  std::vector<std::int64_t> q_rows{1, 40, 40, 41, 48, 60, 63};
  std::vector<std::int64_t> kv_rows{1, 301, 320, 905, 905, 906, 929};
  std::vector<std::int64_t> kv_lens{300, 0, 513, 0, 1, 22}, offsets{260, 3, 500, -1, 0, 7};
  std::int64_t keys = 0;
  Problem problem;
};

void check_every_isa_and_threads(const RaggedProblem& ragged) {
  const Outputs want = ragged.statement();
  for (const Isa isa : available_isas()) {
    for (const int threads : {1, 2, 7}) {
      const bool same = in_arena(threads, [&] {
        const ForcedIsa forced(isa);
        return same_bits(ragged.library(), want);
      });
      CHECK_MESSAGE(same, isa_name(isa), " with ", threads,
                    " threads: ", describe(ragged.problem.spec));
    }
  }
}

Spec base_spec() {
  Spec spec;
  spec.shape = RaggedProblem::shape();
  spec.lse = true;
  return spec;
}

}  // namespace

TEST_CASE("a sequence of a ragged batch has the bits of a call by itself") {
  Spec spec = base_spec();
  check_every_isa_and_threads(RaggedProblem(spec));
  spec.layout = Layout::bshd;
  spec.mask = causal_bottom_right();
  check_every_isa_and_threads(RaggedProblem(spec));
  spec.mask = causal_bottom_right().windowed(100, 0);
  spec.soft_cap = 20.0f;
  spec.alibi_slope = 0.125f;
  spec.sink = 0.5f;
  check_every_isa_and_threads(RaggedProblem(spec));
}

TEST_CASE("positions of a ragged batch are per packed row, or counted in each sequence") {
  Spec spec = base_spec();
  spec.mask = causal(5);
  for (const Rope style : {Rope::half, Rope::interleaved}) {
    spec.rope = style;
    spec.rope_positions = style == Rope::interleaved;
    RaggedProblem ragged(spec);
    ragged.offsets.clear();
    check_every_isa_and_threads(ragged);
  }
}

TEST_CASE("masks, biases, weights, lengths and offsets of a ragged batch are per packed row") {
  Spec spec = base_spec();
  spec.weights = true;
  spec.bias = true;
  spec.bias_broadcast = kOverHeads;
  check_every_isa_and_threads(RaggedProblem(spec));
  spec.bias = false;
  spec.bool_mask = MaskMeaning::drop;
  spec.mask = causal();
  RaggedProblem ragged(spec);
  ragged.problem.options.kv_lens = ragged.kv_lens;
  ragged.problem.options.mask.query_offsets = ragged.offsets;
  check_every_isa_and_threads(ragged);
  const std::vector<std::int64_t> prefix_lens{2, 0, 400, 5, 1, 300};
  ragged.problem.options.mask.prefix_lens = prefix_lens;
  check_every_isa_and_threads(ragged);
}

TEST_CASE("weight sums of a ragged batch are per sequence") {
  Spec spec = base_spec();
  for (const WeightSums kind : {WeightSums::per_head, WeightSums::per_kv_head}) {
    spec.weight_sums = kind;
    spec.layout = kind == WeightSums::per_head ? Layout::bhsd : Layout::padded;
    check_every_isa_and_threads(RaggedProblem(spec));
    spec.mask = causal_bottom_right().windowed(70, kNoWindow);
    spec.rope = Rope::half;
    RaggedProblem ragged(spec);
    ragged.problem.options.kv_lens = ragged.kv_lens;
    check_every_isa_and_threads(ragged);
  }
}

TEST_CASE("invalid row offsets give an error that names them, and nothing is written") {
  struct Mistake {
    std::function<void(RaggedProblem&)> make;
    std::vector<std::string> words;
  };
  const std::vector<std::int64_t> none;
  const std::vector<Mistake> mistakes{
      {[](RaggedProblem& r) { r.q_rows[2] = 39; }, {"rows.q: ", "39", "40"}},
      {[](RaggedProblem& r) { r.q_rows[6] = 65; }, {"rows.q: ", "65", "64"}},
      {[](RaggedProblem& r) { r.q_rows[0] = -1; }, {"rows.q: ", "-1"}},
      {[](RaggedProblem& r) { r.kv_rows[6] = 931; }, {"rows.kv: ", "931", "930"}},
      {[](RaggedProblem& r) { r.kv_rows.pop_back(); }, {"rows.kv: offsets 6", "rows.q's 7"}},
      {[](RaggedProblem& r) { r.q_rows.clear(); }, {"rows.q: "}},
      {[](RaggedProblem& r) {
         r.kv_lens[1] = 20;
         r.problem.options.kv_lens = r.kv_lens;
       },
       {"kv_lens: ", "20", "19"}},
      {[](RaggedProblem& r) {
         r.kv_lens[4] = 2;
         r.problem.options.kv_lens = r.kv_lens;
       },
       {"kv_lens: length 2 of sequence 4 is not within 0 and its 1 row of k"}},
      {[](RaggedProblem& r) {
         r.kv_lens.pop_back();
         r.problem.options.kv_lens = r.kv_lens;
       },
       {"kv_lens: ", "5", "6"}},
      {[](RaggedProblem& r) {
         r.offsets.pop_back();
         r.problem.options.mask = causal(r.offsets);
       },
       {"mask.query_offsets: offsets 5", "sequences 6"}},
      {[](RaggedProblem& r) { r.problem.k.shape[1] = 1; }, {"v: ", "1", "2"}},
      {[](RaggedProblem& r) {
         static float sums[6 * 585];
         r.problem.options.weight_sums = {sums, {1, 4, 585}};
       },
       {"weight_sums: batch 1", "sequences 6"}},
  };
  for (const Mistake& mistake : mistakes) {
    RaggedProblem ragged(base_spec());
    mistake.make(ragged);
    const Outputs untouched = ragged.outputs();
    Outputs outputs = ragged.outputs();
    AttentionOptions options = ragged.problem.options;
    options.lse = outputs.lse;
    const std::string sentence = sentence_of([&] {
      attention(packed(ragged.problem.q), packed(ragged.problem.k), packed(ragged.problem.v),
                packed(outputs.out), {.q = ragged.q_rows, .kv = ragged.kv_rows}, options);
    });
    CAPTURE(sentence);
    for (const std::string& word : mistake.words) {
      CHECK(sentence.find(word) != std::string::npos);
    }
    CHECK(same_bits(outputs, untouched));
  }
}

TEST_CASE("a ragged batch without sequences, or with empty ones only, writes nothing") {
  RaggedProblem ragged(base_spec());
  for (const std::vector<std::int64_t>& rows :
       {std::vector<std::int64_t>{5}, std::vector<std::int64_t>{5, 5, 5}}) {
    ragged.q_rows = rows;
    ragged.kv_rows = rows;
    CHECK(same_bits(ragged.library(), ragged.outputs()));
  }
}

}  // namespace rapt::test
