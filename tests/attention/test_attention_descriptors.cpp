// Random tensor descriptors, including hostile sizes and strides: validation accepts them or says
// what is wrong, and no arithmetic on them is undefined.
#include "attention/tensor_keys.hpp"
#include "core/random.hpp"
#include "rapt/attention.hpp"
#include "rapt/error.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int64_t>::max();

/// The views of a call; the memory belongs to a Problem and Outputs.
struct Arguments {
  Arguments(const Problem& problem, const Outputs& outputs)
      : q(problem.q), k(problem.k), v(problem.v), out(outputs.out), options(problem.options) {
    write_to(outputs, options);
  }

  TensorView<const float, 4> q, k, v;
  TensorView<float, 4> out;
  AttentionOptions options;
};

Spec valid_spec() {
  Spec spec;
  spec.shape = {.batch = 2,
                .heads = 4,
                .kv_heads = 2,
                .q_len = 3,
                .kv_len = 5,
                .head_dim = 8,
                .value_dim = 6};
  spec.mask = causal();
  spec.bias = true;
  spec.bool_mask = MaskMeaning::drop;
  spec.lse = true;
  spec.weights = true;
  spec.weight_sums = WeightSums::per_kv_head;
  spec.state_in = true;
  spec.state_out = true;
  return spec;
}

/// Mostly small and sensible, sometimes at the limits of the type.
std::int64_t hostile(Random& random) {
  switch (random.below(12)) {
    case 0:
      return kMaxInt - random.below(3);
    case 1:
      return -kMaxInt - 1 + random.below(3);
    case 2:
      return static_cast<std::int64_t>(random.next());
    case 3:
      return std::int64_t{1} << random.below(63);
    case 4:
      return -random.below(9);
    default:
      return random.below(9);
  }
}

/// Replaces up to three numbers of a view; its memory is never accessed.
template <class T, int Rank>
void spoil(TensorView<T, Rank>& view, Random& random) {
  for (std::int64_t n = random.below(4); n > 0; --n) {
    auto& numbers = random.below(2) == 0 ? view.shape : view.strides;
    numbers[static_cast<std::size_t>(random.below(Rank))] = hostile(random);
  }
  if (random.below(50) == 0) view.data = nullptr;
}

/// Windows, soft cap, slopes and sinks of any length and value, each with probability 1/4.
void spoil_score_options(AttentionOptions& options, Random& random) {
  static constexpr std::array<float, 8> kValues{
      1.0f, -2.0f, 1e38f, std::numeric_limits<float>::quiet_NaN(), 0.0f, 0.5f, -1e38f, 30.0f,
  };
  const auto some = [&random] {
    const auto first = static_cast<std::size_t>(random.below(4));
    return std::span(kValues).subspan(first, static_cast<std::size_t>(random.below(5)));
  };
  if (random.below(4) == 0) options.mask.window_left = hostile(random);
  if (random.below(4) == 0) options.mask.window_right = hostile(random);
  if (random.below(4) == 0) options.soft_cap = kValues[static_cast<std::size_t>(random.below(8))];
  if (random.below(4) == 0) options.alibi_slopes = some();
  if (random.below(4) == 0) options.sinks = some();
}

/// The first words that an error of attention() may have.
constexpr std::array kNames{"q: ",
                            "k: ",
                            "v: ",
                            "out: ",
                            "lse: ",
                            "weights: ",
                            "bias: ",
                            "bool_mask: ",
                            "mask: ",
                            "kv_lens: ",
                            "softmax_scale: ",
                            "alibi_slopes: ",
                            "sinks: ",
                            "soft_cap: ",
                            "weights_rows: ",
                            "weight_sums: ",
                            "state_in: ",
                            "state_out: "};

bool names_an_argument(const std::string& sentence) {
  return std::any_of(kNames.begin(), kNames.end(),
                     [&](const char* name) { return sentence.rfind(name, 0) == 0; });
}

/// Makes one of the tensors of a call invalid.
void spoil_one(Arguments& a, Random& random) {
  switch (random.below(13)) {
    case 0:
      spoil(a.q, random);
      break;
    case 1:
      spoil(a.k, random);
      break;
    case 2:
      spoil(a.v, random);
      break;
    case 3:
      spoil(a.out, random);
      break;
    case 4:
      spoil(a.options.bias, random);
      break;
    case 5:
      spoil(a.options.weight_sums, random);
      break;
    case 6:
      spoil(a.options.state_in.m, random);
      break;
    case 7:
      spoil(a.options.state_in.l, random);
      break;
    case 8:
      spoil(a.options.state_in.o, random);
      break;
    case 9:
      spoil(a.options.state_out.m, random);
      break;
    case 10:
      spoil(a.options.state_out.l, random);
      break;
    case 11:
      spoil(a.options.state_out.o, random);
      break;
    default:
      spoil(a.options.weights, random);
      break;
  }
}

}  // namespace

TEST_CASE("random descriptors are valid, or give an error that names an argument") {
  Random random(1);
  std::int64_t errors = 0;
  const Problem problem(valid_spec());
  const Outputs outputs(problem.spec);
  const Arguments valid(problem, outputs);
  Arguments a = valid;
  const int count = quick() ? 20'000 : 1'000'000;
  for (int n = 0; n < count; ++n) {
    a = valid;
    spoil_one(a, random);
    spoil(a.options.lse, random);
    const std::array<std::int64_t, 2> lengths{hostile(random), hostile(random)};
    if (random.below(2) == 0) a.options.kv_lens = lengths;
    const std::array<std::int64_t, 2> rows{hostile(random), hostile(random)};
    if (random.below(4) == 0) a.options.weights_rows = rows;
    if (random.below(4) == 0) spoil_score_options(a.options, random);
    try {
      Sequences sequences;
      PageAddresses addresses;
      AttentionProblem problem{.tensors = {a.q, {}, {}, a.out},
                               .options = a.options,
                               .sequences = sequences,
                               .addresses = addresses};
      validate(problem, TensorKeys(a.k, a.v));
    } catch (const Error& error) {
      ++errors;
      if (!names_an_argument(error.what())) FAIL_CHECK(error.what());
    }
  }
  CHECK(errors > count / 2);
  CHECK(errors < count);
}

}  // namespace rapt::test
