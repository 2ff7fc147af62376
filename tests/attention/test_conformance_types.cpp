// Conformance cases of 16 bits: every operator takes their tensors in their own type, rounds its
// result to it, and is compared with the tolerance of that type.
#include "attention/conformance_folder.hpp"
#include "rapt/attention.hpp"
#include "rapt/ragged.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

using conformance::CaseReport;
using conformance::Shape;
using conformance::Status;
using nlohmann::json;

/// A case with a tolerance for T alone, so narrow that an output which was not rounded to T fails.
template <class T>
class CaseOf : public CaseFolder {
 public:
  explicit CaseOf(const std::string& op, const json& attributes = json::object())
      : CaseFolder(op, attributes) {
    facts["tolerance"] = {{std::string(dtype_name(kDTypeOf<T>)), {{"atol", 1e-9}, {"rtol", 0}}}};
  }

  void add_elements(const std::string& role, const std::vector<float>& values, const Shape& shape) {
    std::vector<T> elements;
    for (const float x : values) elements.push_back(T(x));
    add("input", role, elements, shape);
  }
  void expect(const std::string& role, const std::vector<float>& exact, const Shape& shape) {
    std::vector<double> rounded;
    for (const float x : exact) rounded.push_back(static_cast<float>(T(x)));
    add("output", role, rounded, shape);
  }
};

void check_passes(const CaseFolder& made) {
  const conformance::Engine library{
      "library", [](const auto&... arguments) -> decltype(attention(arguments...)) {
        attention(arguments...);
      }};
  const CaseReport report = made.check(library);
  CHECK_MESSAGE(report.status() == Status::passed,
                (report.failures.empty() ? report.needs.front() : report.failures[0].sentence));
}

/// One query over three equal keys, so that Y is a third.
template <class T>
CaseOf<T> attention_case(const std::string& op) {
  CaseOf<T> made(op);
  made.add_elements("Q", {1}, {1, 1, 1, 1});
  made.add_elements("K", {1, 1, 1}, {1, 1, 3, 1});
  made.add_elements("V", {0, 1, 0}, {1, 1, 3, 1});
  made.expect("Y", {1.0f / 3}, {1, 1, 1, 1});
  return made;
}

template <class T>
void check_attention_in_type() {
  check_passes(attention_case<T>("AttentionX"));
  CaseOf<T> onnx = attention_case<T>("Attention");
  check_passes(onnx);
  onnx.add_elements("attn_mask", {0.5f, 0.5f}, {1, 2});  // the third key is not attended
  onnx.facts["tensors"].erase(3);
  onnx.expect("Y", {0.5f}, {1, 1, 1, 1});
  check_passes(onnx);

  CaseOf<T> packed("AttentionX", {{"layout", "packed"}});
  packed.add_elements("Q", {1, 1}, {2, 1, 1});
  packed.add_elements("K", {1, 1, 1, 1}, {4, 1, 1});
  packed.add_elements("V", {0, 1, 0, 7}, {4, 1, 1});
  packed.add("input", "cu_seqlens_q", std::vector<std::int32_t>{0, 1, 2}, {3});
  packed.add("input", "cu_seqlens_k", std::vector<std::int32_t>{0, 3, 4}, {3});
  packed.expect("Y", {1.0f / 3, 7}, {2, 1, 1});
  check_passes(packed);

  CaseOf<T> with_cache("Attention");
  with_cache.add_elements("Q", {1}, {1, 1, 1, 1});
  with_cache.add_elements("K", {1}, {1, 1, 1, 1});
  with_cache.add_elements("V", {1}, {1, 1, 1, 1});
  with_cache.add_elements("past_key", {1, 1}, {1, 1, 2, 1});
  with_cache.add_elements("past_value", {0, 0}, {1, 1, 2, 1});
  with_cache.expect("Y", {1.0f / 3}, {1, 1, 1, 1});
  with_cache.expect("present_value", {0, 0, 1}, {1, 1, 3, 1});
  check_passes(with_cache);
}

template <class T>
void check_rows_in_type() {
  CaseOf<T> softmax("Softmax");
  softmax.add_elements("input", {2, 2, 2}, {1, 3});
  softmax.expect("output", {1.0f / 3, 1.0f / 3, 1.0f / 3}, {1, 3});
  check_passes(softmax);

  CaseOf<T> rms("RMSNormalization", {{"epsilon", 0.0}});
  rms.add_elements("X", {3, -3}, {1, 2});
  rms.add("input", "scale", std::vector<float>{1.0f / 3, 1}, {2});
  rms.expect("Y", {1.0f / 3, -1}, {1, 2});
  check_passes(rms);

  CaseOf<T> layer("LayerNormalization", {{"epsilon", 0.0}});
  layer.add_elements("X", {1, 3}, {1, 2});
  layer.add_elements("Scale", {1, 1}, {2});
  layer.add("input", "B", std::vector<float>{1.0f / 3, 0}, {2});
  layer.expect("Y", {1.0f / 3 - 1, 1}, {1, 2});
  layer.expect("Mean", {2}, {1, 1});
  check_passes(layer);

  CaseOf<T> rope("RotaryEmbedding");
  rope.add_elements("X", {1, 0}, {1, 1, 1, 2});
  rope.add("input", "cos_cache", std::vector<float>{1.0f / 3}, {1, 1, 1});
  rope.add_elements("sin_cache", {0.25f}, {1, 1, 1});
  rope.expect("Y", {1.0f / 3, 0.25f}, {1, 1, 1, 2});
  check_passes(rope);
}

}  // namespace

TEST_CASE("attention takes the tensors of a case in their own type") {
  check_attention_in_type<float16>();
  check_attention_in_type<bfloat16>();
}

TEST_CASE("operators of rows take the tensors of a case in their own type") {
  check_rows_in_type<float16>();
  check_rows_in_type<bfloat16>();
}

TEST_CASE("a case of 16 bits without a tolerance for its type fails") {
  CaseFolder made("Softmax", json::object());
  made.add("input", "input", std::vector<float16>{float16(0.0f)}, {1, 1});
  made.add("output", "output", std::vector<float>{1}, {1, 1});
  REQUIRE(made.check().failures.size() == 1);
  CHECK(made.check().failures[0].sentence.find("f16") != std::string::npos);
}

TEST_CASE("a cache of another type than the new tokens is an inconsistent case") {
  CaseOf<float16> made("Attention");
  made.add_elements("Q", {1}, {1, 1, 1, 1});
  made.add_elements("K", {1}, {1, 1, 1, 1});
  made.add_elements("V", {1}, {1, 1, 1, 1});
  made.add("input", "past_key", std::vector<float>{1}, {1, 1, 1, 1});
  made.add_elements("past_value", {1}, {1, 1, 1, 1});
  made.expect("Y", {1}, {1, 1, 1, 1});
  REQUIRE(made.check().failures.size() == 1);
  CHECK(made.check().failures[0].sentence == "tensor 'past_key' is f32, the new tokens are f16");
}

}  // namespace rapt::test
