// Wrong arguments of attention(): one sentence that names the argument and its values, and outputs
// that stay unchanged.
#include "rapt/attention.hpp"
#include "rapt/error.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int64_t>::max();

/// A valid call with every option, from which a test makes an invalid one.
struct Arguments {
  Arguments()
      : problem(make_spec()),
        outputs(make_spec()),
        q(problem.q),
        k(problem.k),
        v(problem.v),
        out(outputs.out),
        options(problem.options) {
    options.lse = outputs.lse;
    options.weights = outputs.weights;
  }

  static Spec make_spec() {
    Spec spec;
    spec.shape = {.batch = 2,
                  .heads = 4,
                  .kv_heads = 2,
                  .q_len = 3,
                  .kv_len = 5,
                  .head_dim = 8,
                  .value_dim = 6};
    spec.offset_per_sequence = true;
    spec.kv_lens = true;
    spec.bool_mask = MaskMeaning::keep;
    spec.bias = true;
    spec.soft_cap = 20.0f;
    spec.alibi_slope = 0.5f;
    spec.sink = 1.0f;
    spec.lse = true;
    spec.weights = true;
    return spec;
  }

  /// The sentence of the Error; empty if the call succeeds.
  std::string error() const {
    return sentence_of([&] { attention(q, k, v, out, options); });
  }

  Problem problem;
  Outputs outputs;
  TensorView<const float, 4> q, k, v;
  TensorView<float, 4> out;
  AttentionOptions options;
  std::vector<std::int64_t> numbers;  // memory for options that a test sets
  std::vector<float> floats;
};

struct Mistake {
  const char* name;
  std::function<void(Arguments&)> make;
  std::vector<std::string> words;  // of the sentence, the argument first
};

/// Invalid views.
std::vector<Mistake> view_mistakes() {
  return {
      {"q null", [](Arguments& a) { a.q.data = nullptr; }, {"q: "}},
      {"k null", [](Arguments& a) { a.k.data = nullptr; }, {"k: "}},
      {"v null", [](Arguments& a) { a.v.data = nullptr; }, {"v: "}},
      {"out null", [](Arguments& a) { a.out.data = nullptr; }, {"out: "}},
      {"q negative", [](Arguments& a) { a.q.shape[2] = -3; }, {"q: ", "-3"}},
      {"k negative", [](Arguments& a) { a.k.shape[2] = -5; }, {"k: ", "-5"}},
      {"q strided", [](Arguments& a) { a.q.strides[3] = 2; }, {"q: ", "2"}},
      {"k strided", [](Arguments& a) { a.k.strides[3] = 0; }, {"k: ", "0"}},
      {"v strided", [](Arguments& a) { a.v.strides[3] = -1; }, {"v: ", "-1"}},
      {"out strided", [](Arguments& a) { a.out.strides[3] = 3; }, {"out: ", "3"}},
      {"weights strided", [](Arguments& a) { a.options.weights.strides[3] = 2; }, {"weights: "}},
      {"k beyond memory", [](Arguments& a) { a.k.strides[2] = kMaxInt / 2; }, {"k: "}},
      {"k beyond memory in sum",
       [](Arguments& a) { a.k.strides[0] = a.k.strides[1] = kMaxInt; },
       {"k: ", "memory"}},
      {"bias beyond memory", [](Arguments& a) { a.options.bias.strides[2] = kMaxInt; }, {"bias: "}},
      {"out on itself", [](Arguments& a) { a.out.strides[1] = 0; }, {"out: ", "0"}},
      {"out rows overlap", [](Arguments& a) { a.out.strides[2] = 5; }, {"out: ", "5"}},
      {"lse on itself", [](Arguments& a) { a.options.lse.strides[2] = 0; }, {"lse: ", "0"}},
      {"weights overlap", [](Arguments& a) { a.options.weights.strides[2] = 4; }, {"weights: "}},
  };
}

/// Sizes that do not match.
std::vector<Mistake> shape_mistakes() {
  return {
      {"k batch", [](Arguments& a) { a.k.shape[0] = 1; }, {"k: ", "batch", "1", "2"}},
      {"v batch", [](Arguments& a) { a.v.shape[0] = 1; }, {"v: ", "batch", "1", "2"}},
      {"out batch", [](Arguments& a) { a.out.shape[0] = 1; }, {"out: ", "batch", "1", "2"}},
      {"heads", [](Arguments& a) { a.q.shape[1] = a.out.shape[1] = 3; }, {"q: ", "3", "2"}},
      {"no kv heads", [](Arguments& a) { a.k.shape[1] = a.v.shape[1] = 0; }, {"q: ", "4", "0"}},
      {"v kv_heads", [](Arguments& a) { a.v.shape[1] = 1; }, {"v: ", "kv_heads", "1", "2"}},
      {"v kv_len", [](Arguments& a) { a.v.shape[2] = 4; }, {"v: ", "kv_len", "4", "5"}},
      {"k head_dim", [](Arguments& a) { a.k.shape[3] = 7; }, {"k: ", "head_dim", "7", "8"}},
      {"head_dim 0", [](Arguments& a) { a.q.shape[3] = a.k.shape[3] = 0; }, {"q: ", "head_dim"}},
      {"out heads", [](Arguments& a) { a.out.shape[1] = 2; }, {"out: ", "heads", "2", "4"}},
      {"out q_len", [](Arguments& a) { a.out.shape[2] = 2; }, {"out: ", "q_len", "2", "3"}},
      {"out value_dim", [](Arguments& a) { a.out.shape[3] = 5; }, {"out: ", "value_dim", "5"}},
      {"lse heads", [](Arguments& a) { a.options.lse.shape[1] = 1; }, {"lse: ", "heads", "1"}},
      {"weights kv_len",
       [](Arguments& a) { a.options.weights.shape[3] = 4; },
       {"weights: ", "kv_len", "4", "5"}},
      {"bias heads", [](Arguments& a) { a.options.bias.shape[1] = 2; }, {"bias: ", "heads", "2"}},
      {"bias rank-2 style",
       [](Arguments& a) { a.options.bias.shape[3] = 3; },
       {"bias: ", "kv_len", "3"}},
      {"mask q_len",
       [](Arguments& a) { a.options.bool_mask.values.shape[2] = 2; },
       {"bool_mask: ", "q_len", "2", "3"}},
  };
}

void set_lengths(Arguments& a, std::vector<std::int64_t> lengths) {
  a.numbers = std::move(lengths);
  a.options.kv_lens = a.numbers;
}

std::vector<Mistake> option_mistakes() {
  return {
      {"too few kv_lens",
       [](Arguments& a) { set_lengths(a, {5}); },
       {"kv_lens: lengths 1", "q's batch 2"}},
      {"negative kv_len",
       [](Arguments& a) {
         set_lengths(a, {5, -1});
       },
       {"kv_lens: ", "-1"}},
      {"long kv_len",
       [](Arguments& a) {
         set_lengths(a, {6, 1});
       },
       {"kv_lens: ", "6", "5"}},
      {"too many query_offsets",
       [](Arguments& a) {
         a.numbers = {1, 2, 3};
         a.options.mask = causal(a.numbers);
       },
       {"mask.query_offsets: offsets 3", "sequences 2"}},
      {"query_offsets without causal",
       [](Arguments& a) {
         a.options.mask.kind = Mask::Kind::none;
         a.options.alibi_slopes = {};
       },
       {"mask: ", "query_offsets"}},
      {"query_offsets and bottom_right",
       [](Arguments& a) { a.options.mask.align = Mask::Align::bottom_right; },
       {"mask: ", "query_offsets"}},
      {"prefix without causal",
       [](Arguments& a) { a.options.mask = Mask{}.with_prefix(3); },
       {"mask: prefix_len 3", "causal"}},
      {"prefix and a window of nothing to the right",
       [](Arguments& a) { a.options.mask = causal().windowed(4, 0).with_prefix(3); },
       {"mask: prefix_len 3", "window_right 0", "kNoWindow"}},
      {"negative prefix",
       [](Arguments& a) { a.options.mask = causal().with_prefix(-2); },
       {"mask: prefix_len -2"}},
      {"prefix_len and prefix_lens",
       [](Arguments& a) {
         a.numbers = {1, 2};
         a.options.mask = causal().with_prefix(7).with_prefix(a.numbers);
       },
       {"mask: prefix_len 7", "prefix_lens"}},
      {"too many prefix_lens",
       [](Arguments& a) {
         a.numbers = {1, 2, 3};
         a.options.mask = causal().with_prefix(a.numbers);
       },
       {"mask.prefix_lens: lengths 3", "sequences 2"}},
      {"negative length in prefix_lens",
       [](Arguments& a) {
         a.numbers = {1, -4};
         a.options.mask = causal().with_prefix(a.numbers);
       },
       {"mask: length -4", "prefix_lens"}},
      {"scale NaN",
       [](Arguments& a) { a.options.softmax_scale = std::numeric_limits<float>::quiet_NaN(); },
       {"softmax_scale: ", "nan"}},
      {"scale infinite",
       [](Arguments& a) { a.options.softmax_scale = -std::numeric_limits<float>::infinity(); },
       {"softmax_scale: ", "inf"}},
  };
}

void set_slopes(Arguments& a, std::vector<float> slopes) {
  a.floats = std::move(slopes);
  a.options.alibi_slopes = a.floats;
}

void set_sinks(Arguments& a, std::vector<float> sinks) {
  a.floats = std::move(sinks);
  a.options.sinks = a.floats;
}

/// Invalid values of score options; a call has 4 heads.
std::vector<Mistake> score_option_mistakes() {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kMax = std::numeric_limits<float>::max();
  std::vector<Mistake> mistakes{
      {"window left", [](Arguments& a) { a.options.mask.window_left = -2; }, {"mask: ", "left -2"}},
      {"window right",
       [](Arguments& a) { a.options.mask.window_right = -kMaxInt - 1; },
       {"mask: ", "window_right ", std::to_string(-kMaxInt - 1)}},
      {"few slopes",
       [](Arguments& a) {
         set_slopes(a, {1, 1});
       },
       {"alibi_slopes: values 2", "heads 4"}},
      {"slope of NaN",
       [=](Arguments& a) {
         set_slopes(a, {1, kNaN, 1, 1});
       },
       {"alibi_slopes: ", "nan", "1"}},
      {"infinite slope",
       [=](Arguments& a) {
         set_slopes(a, {1, 1, -kInfinity, 1});
       },
       {"alibi_slopes: ", "-inf", "2"}},
      {"many sinks",
       [](Arguments& a) {
         set_sinks(a, {1, 1, 1, 1, 1});
       },
       {"sinks: values 5", "heads 4"}},
      {"sink of NaN",
       [=](Arguments& a) {
         set_sinks(a, {kNaN, 1, 1, 1});
       },
       {"sinks: ", "nan", "0"}},
      {"infinite sink",
       [=](Arguments& a) {
         set_sinks(a, {1, 1, 1, kInfinity});
       },
       {"sinks: ", "inf", "3"}},
  };
  for (const float cap : {0.0f, -0.0f, -30.0f, kNaN, kInfinity, -kInfinity, kMax}) {
    mistakes.push_back(
        {"soft cap", [cap](Arguments& a) { a.options.soft_cap = cap; }, {"soft_cap: "}});
  }
  return mistakes;
}

/// Outputs in the memory of inputs or of each other, each with a valid shape.
std::vector<Mistake> aliasing_mistakes() {
  const auto same_memory = [](const TensorView<float, 4>& at, const TensorView<float, 4>& over) {
    return TensorView<float, 4>(over.data, at.shape);
  };
  return {
      {"out over q", [=](Arguments& a) { a.out = same_memory(a.out, a.problem.q); }, {"out", "q"}},
      {"out over k", [=](Arguments& a) { a.out = same_memory(a.out, a.problem.k); }, {"out", "k"}},
      {"out over v", [=](Arguments& a) { a.out = same_memory(a.out, a.problem.v); }, {"out", "v"}},
      {"out ends in q",
       [](Arguments& a) {
         a.out = {a.problem.q.data - a.out.size() + 1, a.out.shape};
       },
       {"out", "q"}},
      {"out over bias",
       [](Arguments& a) {
         a.out = {a.problem.bias_storage.data() + 9, a.out.shape};
       },
       {"out", "bias"}},
      {"lse over q",
       [](Arguments& a) {
         a.options.lse = {a.problem.q.data + 7, a.options.lse.shape};
       },
       {"lse", "q"}},
      {"weights over v",
       [](Arguments& a) {
         a.options.weights = {a.problem.v.data, a.options.weights.shape};
       },
       {"weights", "v"}},
      {"lse over out",
       [](Arguments& a) {
         a.options.lse = {a.out.data, a.options.lse.shape};
       },
       {"out", "lse"}},
      {"lse over the last batch of out, which lies first",
       [](Arguments& a) {
         a.options.lse = {a.out.data, a.options.lse.shape};
         a.out.data += a.out.strides[0];
         a.out.strides[0] = -a.out.strides[0];
       },
       {"out", "lse"}},
      {"weights over out",
       [](Arguments& a) {
         a.options.weights = {a.out.data + 1, a.options.weights.shape};
       },
       {"out", "weights"}},
      {"weights over lse",
       [](Arguments& a) {
         a.options.weights = {a.options.lse.data, a.options.weights.shape};
       },
       {"lse", "weights"}},
  };
}

void check_mistakes(const std::vector<Mistake>& mistakes) {
  for (const Mistake& mistake : mistakes) {
    CAPTURE(mistake.name);
    Arguments arguments;
    const Outputs untouched(Arguments::make_spec());
    const std::vector<float> q = arguments.problem.q_storage;
    mistake.make(arguments);
    const std::string sentence = arguments.error();
    CAPTURE(sentence);
    CHECK(sentence.rfind(mistake.words.front(), 0) == 0);
    for (const std::string& word : mistake.words) {
      CHECK(sentence.find(word) != std::string::npos);
    }
    CHECK(same_bits(arguments.outputs, untouched));
    CHECK(same_bits(arguments.problem.q_storage, q));
  }
}

}  // namespace

TEST_CASE("the call from which all invalid calls are derived is valid") {
  const Arguments arguments;
  CHECK(arguments.error() == "");
}

TEST_CASE("an invalid view gives an error that names it, and nothing is written") {
  check_mistakes(view_mistakes());
}

TEST_CASE("sizes that do not match give an error that names both, and nothing is written") {
  check_mistakes(shape_mistakes());
}

TEST_CASE("invalid options give an error that names them, and nothing is written") {
  check_mistakes(option_mistakes());
}

TEST_CASE("an invalid window, soft cap, slope or sink gives an error that names it") {
  check_mistakes(score_option_mistakes());
}

TEST_CASE("an output that overlaps an input or output is an error, and nothing is written") {
  check_mistakes(aliasing_mistakes());
}

}  // namespace rapt::test
