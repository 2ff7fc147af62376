// The conformance cases on every ISA, and cases for what those on disk do not cover.
#include "attention/conformance_folder.hpp"
#include "rapt/attention.hpp"
#include "rapt/isa.hpp"
#include "rapt/ragged.hpp"
#include "support/absent.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <limits>

namespace rapt::test {
namespace {

using conformance::CaseReport;
using conformance::Engine;
using conformance::Status;

/// The folder that the build names, or one next to the source tree.
std::filesystem::path cases_folder() {
  const std::string named = RAPT_CONFORMANCE_FOLDER;
  if (!named.empty()) return named;
  return std::filesystem::path(RAPT_TESTS_FOLDER) / "../../shared/conformance/public";
}

/// Forces an ISA for a scope, even if a call throws.
struct ForcedIsa {
  explicit ForcedIsa(Isa isa) { force_isa(isa); }
  ~ForcedIsa() { reset_isa(); }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;
};

std::vector<Engine> every_isa() {
  std::vector<Engine> engines;
  for (const Isa isa : available_isas()) {
    engines.push_back({std::string(isa_name(isa)),
                       [isa](const auto&... arguments) -> decltype(attention(arguments...)) {
                         const ForcedIsa forced(isa);
                         attention(arguments...);
                       }});
  }
  return engines;
}

/// All sentences of a report, for the message of a failed check.
std::string sentences(const CaseReport& report) {
  std::string text = report.name;
  for (const auto& failure : report.failures) text += "\n  " + failure.engine + failure.sentence;
  for (const auto& need : report.needs) text += "\n  needs " + need;
  return text;
}

constexpr std::int64_t kHeads = 2, kDim = 3;

/// Attention of each packed sequence by itself, [rows, heads, dim].
struct PackedCase {
  std::vector<std::int32_t> q_rows{0, 3, 3, 5, 6}, kv_rows{0, 4, 6, 6, 7};
  std::vector<float> q = random_values(1, 6 * kHeads * kDim);
  std::vector<float> k = random_values(2, 7 * kHeads * kDim);
  std::vector<float> v = random_values(3, 7 * kHeads * kDim);
  std::vector<float> y = std::vector<float>(q.size()), lse = std::vector<float>(6 * kHeads);

  CaseFolder folder() {
    for (std::size_t s = 0; s + 1 < q_rows.size(); ++s) expect_sequence(s);
    CaseFolder made("AttentionX", {{"layout", "packed"}, {"causal", 1}, {"align", "bottom_right"}});
    made.add("input", "Q", q, {6, kHeads, kDim});
    made.add("input", "K", k, {7, kHeads, kDim});
    made.add("input", "V", v, {7, kHeads, kDim});
    made.add("input", "cu_seqlens_q", q_rows, {5});
    made.add("input", "cu_seqlens_k", kv_rows, {5});
    made.add("output", "Y", y, {6, kHeads, kDim});
    made.add("output", "lse", lse, {6, kHeads});
    return made;
  }

  /// Copies sequence s into dense tensors, computes it, and copies the result to its rows.
  void expect_sequence(std::size_t s) {
    const std::int64_t q_len = q_rows[s + 1] - q_rows[s], kv_len = kv_rows[s + 1] - kv_rows[s];
    for (std::int64_t h = 0; h < kHeads; ++h) {
      const auto at = [&](std::int64_t row) {
        return static_cast<std::size_t>((row * kHeads + h) * kDim);
      };
      std::vector<float> sq, sk, sv, out(static_cast<std::size_t>(q_len * kDim)), sums(8);
      for (std::int64_t i = 0; i < q_len; ++i) {
        for (std::size_t d = 0; d < kDim; ++d) sq.push_back(q[at(q_rows[s] + i) + d]);
      }
      for (std::int64_t j = 0; j < kv_len; ++j) {
        for (std::size_t d = 0; d < kDim; ++d) sk.push_back(k[at(kv_rows[s] + j) + d]);
        for (std::size_t d = 0; d < kDim; ++d) sv.push_back(v[at(kv_rows[s] + j) + d]);
      }
      AttentionOptions options;
      options.mask = causal(kv_len - q_len);
      options.lse = {sums.data(), {1, 1, q_len}};
      reference::attention({sq.data(), {1, 1, q_len, kDim}}, {sk.data(), {1, 1, kv_len, kDim}},
                           {sv.data(), {1, 1, kv_len, kDim}}, {out.data(), {1, 1, q_len, kDim}},
                           options);
      for (std::int64_t i = 0; i < q_len; ++i) {
        const std::size_t row = at(q_rows[s] + i);
        for (std::size_t d = 0; d < kDim; ++d) {
          y[row + d] = out[static_cast<std::size_t>(i) * kDim + d];
        }
        lse[row / kDim] = sums[static_cast<std::size_t>(i)];
      }
    }
  }
};

/// One query of ones over `keys` keys of ones: the weights are equal, so Y is the mean of the first
/// `attended` values.
CaseFolder mean_case(const std::string& op, std::int64_t keys, std::int64_t attended,
                     const nlohmann::json& attributes = nlohmann::json::object()) {
  CaseFolder made(op, attributes);
  std::vector<float> values;
  float sum = 0;
  for (std::int64_t j = 0; j < keys; ++j) values.push_back(static_cast<float>(j * j));
  for (std::int64_t j = 0; j < attended; ++j) sum += values[static_cast<std::size_t>(j)];
  made.add("input", "Q", std::vector<float>{1}, {1, 1, 1, 1});
  made.add("input", "K", std::vector<float>(values.size(), 1), {1, 1, keys, 1});
  made.add("input", "V", values, {1, 1, keys, 1});
  made.add("output", "Y", std::vector<float>{sum / static_cast<float>(attended)}, {1, 1, 1, 1});
  return made;
}

}  // namespace

TEST_CASE("every conformance case whose options exist passes on every ISA" *
          doctest::test_suite("conformance files")) {
  const std::filesystem::path folder = cases_folder();
  if (!std::filesystem::is_directory(folder)) {
    return skip("no folder of conformance cases at " + folder.string());
  }
  const std::vector<Engine> engines = every_isa();
  std::int64_t passed = 0;
  for (const auto& path : conformance::find_cases(folder)) {
    const CaseReport report = conformance::check_case(path, engines);
    CHECK_MESSAGE(report.status() != Status::failed, sentences(report));
    passed += report.status() == Status::passed ? 1 : 0;
  }
  CHECK(passed > 0);
}

TEST_CASE("packed sequences, including empty ones, are computed over their own rows only") {
  PackedCase packed;
  const CaseFolder made = packed.folder();
  const std::vector<Engine> engines = every_isa();
  const CaseReport report = made.check(engines.front());
  CHECK_MESSAGE(report.status() == Status::passed, sentences(report));

  CaseFolder wrong = packed.folder();
  wrong.write("input_cu_seqlens_k.npy", "head" + bytes_of(std::vector{0, 5, 6, 6, 7}));
  CHECK(wrong.check(engines.front()).status() == Status::failed);
}

TEST_CASE("a packed QKV tensor gives the results of three tensors") {
  const std::int64_t tokens = 5, row = kHeads * kDim;
  const std::vector<float> qkv = random_values(4, tokens * 3 * row);
  const auto part = [&](std::int64_t which) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < tokens; ++i) {
      const auto* begin = qkv.data() + (i * 3 + which) * row;
      values.insert(values.end(), begin, begin + row);
    }
    return values;
  };
  const std::vector<float> q = part(0), k = part(1), v = part(2);
  std::vector<float> y(q.size());
  const std::array<std::int64_t, 4> shape{1, kHeads, tokens, kDim}, strides{0, kDim, row, 1};
  reference::attention({q.data(), shape, strides}, {k.data(), shape, strides},
                       {v.data(), shape, strides}, {y.data(), shape, strides}, {});

  CaseFolder one("AttentionX", {{"layout", "BS3HD"}});
  one.add("input", "QKV", qkv, {1, tokens, 3, kHeads, kDim});
  one.add("output", "Y", y, {1, tokens, kHeads, kDim});
  CHECK_MESSAGE(one.check().status() == Status::passed, sentences(one.check()));

  CaseFolder three("AttentionX", {{"layout", "BSHD"}});
  three.add("input", "Q", q, {1, tokens, kHeads, kDim});
  three.add("input", "K", k, {1, tokens, kHeads, kDim});
  three.add("input", "V", v, {1, tokens, kHeads, kDim});
  three.add("output", "Y", y, {1, tokens, kHeads, kDim});
  CHECK_MESSAGE(three.check().status() == Status::passed, sentences(three.check()));
}

TEST_CASE("keys past the end of a shorter ONNX mask are not attended") {
  CaseFolder added = mean_case("Attention", 5, 3);
  added.add("input", "attn_mask", std::vector<float>(3), {1, 3});
  CHECK_MESSAGE(added.check().status() == Status::passed, sentences(added.check()));

  CaseFolder kept = mean_case("Attention", 5, 1);
  kept.add("input", "attn_mask", std::vector<unsigned char>{1}, {1, 1});
  CHECK_MESSAGE(kept.check().status() == Status::passed, sentences(kept.check()));
}

TEST_CASE("a last extent of 1 of a mask of AttentionX broadcasts over the keys") {
  CaseFolder kept = mean_case("AttentionX", 5, 5);
  kept.add("input", "attn_mask", std::vector<unsigned char>{1}, {1, 1});
  CHECK_MESSAGE(kept.check().status() == Status::passed, sentences(kept.check()));
}

TEST_CASE("an ONNX cache of keys comes before the new keys and moves the causal offset") {
  // One query at position 2 sees the two cached values and the first of the new ones.
  CaseFolder made = mean_case("Attention", 5, 3, {{"is_causal", 1}});
  auto& tensors = made.facts["tensors"];
  tensors.erase(2), tensors.erase(1);
  made.add("input", "past_key", std::vector<float>{1, 1}, {1, 1, 2, 1});
  made.add("input", "past_value", std::vector<float>{0, 1}, {1, 1, 2, 1});
  made.add("input", "K", std::vector<float>{1, 1, 1}, {1, 1, 3, 1});
  made.add("input", "V", std::vector<float>{4, 9, 16}, {1, 1, 3, 1});
  made.add("output", "present_value", std::vector<float>{0, 1, 4, 9, 16}, {1, 1, 5, 1});
  CHECK_MESSAGE(made.check().status() == Status::passed, sentences(made.check()));

  made.write("output_present_value.npy", "head" + bytes_of(std::vector<float>{4, 9, 16, 0, 1}));
  CHECK(made.check().status() == Status::failed);
}

TEST_CASE("a result that is slightly wrong fails and names the output, both values and the bound") {
  const CaseFolder made = mean_case("AttentionX", 2, 2);
  const Engine wrong{"wrong", [](auto q, auto k, auto v, auto out, const auto& options) {
                       reference::attention(q, k, v, out, options);
                       out.template as<float>().data[0] += 0x1p-12f;
                     }};
  const CaseReport report = made.check(wrong);
  REQUIRE(report.failures.size() == 1);
  CHECK(report.failures[0].sentence ==
        "Y[0, 0, 0, 0] got 0.500244141, want 0.5, bound 1.5e-05 (1 of 1 elements)");
}

TEST_CASE("an element that attention() does not write fails") {
  const Engine idle{"idle", [](auto, auto, auto, auto, const auto&) {}};
  CHECK(mean_case("AttentionX", 3, 3).check(idle).status() == Status::failed);
}

TEST_CASE("an element that Y_care excludes is not compared") {
  CaseFolder made = mean_case("AttentionX", 3, 3);
  made.write("output_Y.npy", "head" + bytes_of(std::vector<float>{7}));
  CHECK(made.check().status() == Status::failed);
  made.add("output", "Y_care", std::vector<unsigned char>{0}, {1, 1, 1, 1});
  CHECK(made.check().status() == Status::passed);
}

TEST_CASE("an expected NaN or infinity equals nothing else, and an expected number is never NaN") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const auto holds = [](float want, float got) {
    const conformance::CaseTensor tensor{
        "Y",   true, DType::f32,
        "f32", {1},  std::vector<std::byte>(exact_copy(bytes_of(std::vector{want})))};
    return !conformance::compare(tensor, {&got, 1}, {0.5, 0.25}).mismatch;
  };
  CHECK(holds(nan, nan));
  CHECK(holds(inf, inf));
  CHECK(holds(-inf, -inf));
  CHECK(holds(-0.0f, 0.0f));
  CHECK(holds(2.0f, 3.0f));
  CHECK(holds(-2.0f, -1.0f));
  CHECK_FALSE(holds(2.0f, 3.01f));
  CHECK_FALSE(holds(nan, 0.0f));
  CHECK_FALSE(holds(0.0f, nan));
  CHECK_FALSE(holds(inf, -inf));
  CHECK_FALSE(holds(inf, 3e38f));
  CHECK_FALSE(holds(3e38f, inf));
}

}  // namespace rapt::test
