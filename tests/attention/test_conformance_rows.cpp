// Operators of rows in conformance cases: axes, optional tensors, and what an inconsistent case is.
#include "attention/conformance_folder.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace rapt::test {
namespace {

using conformance::CaseReport;
using conformance::Shape;
using conformance::Status;
using nlohmann::json;

/// Rows (1, 3) and (5, 9), as [2, 2] or any shape that has them; weights 2 and 4.
CaseFolder layer_norm_case(const json& attributes, const Shape& shape, const Shape& of_row) {
  CaseFolder made("LayerNormalization", attributes);
  made.add("input", "X", std::vector<float>{1, 3, 5, 9}, shape);
  made.add("input", "Scale", std::vector<float>{2, 4}, of_row);
  made.add("output", "Y", std::vector<float>{-2, 4, -2, 4}, shape);
  return made;
}

/// exp of the elements is 1, 3, 2, 2, 5, 5 in the order of memory.
CaseFolder softmax_case(const json& attributes, const Shape& shape, const std::vector<float>& y) {
  CaseFolder made("Softmax", attributes);
  std::vector<float> x;
  for (const float power : {1.0f, 3.0f, 2.0f, 2.0f, 5.0f, 5.0f}) x.push_back(std::log(power));
  made.add("input", "input", x, shape);
  made.add("output", "output", y, shape);
  return made;
}

void check_passes(const CaseFolder& made) {
  const CaseReport report = made.check();
  CHECK_MESSAGE(report.status() == Status::passed,
                (report.failures.empty() ? "skipped" : report.failures.front().sentence));
}

std::string sentence(const CaseFolder& made) {
  const CaseReport report = made.check();
  return report.failures.empty() ? "no failure" : report.failures.front().sentence;
}

const json kNoEpsilon = {{"epsilon", 0.0}};

}  // namespace

TEST_CASE("LayerNormalization takes the extents from its axis on as one row") {
  check_passes(layer_norm_case(kNoEpsilon, {2, 2}, {2}));
  check_passes(layer_norm_case({{"epsilon", 0.0}, {"axis", 1}}, {2, 1, 2}, {1, 2}));
  check_passes(layer_norm_case({{"epsilon", 0.0}, {"axis", -2}}, {2, 2, 1}, {2, 1}));
}

TEST_CASE("LayerNormalization compares the mean and the inverse deviation, and adds the bias") {
  for (const float wrong : {0.0f, 1.0f}) {
    for (const std::string role : {"Mean", "InvStdDev", "B"}) {
      CaseFolder made = layer_norm_case(kNoEpsilon, {2, 2}, {2});
      if (role == "Mean") made.add("output", role, std::vector<float>{2, 7 + wrong}, {2, 1});
      if (role == "InvStdDev") {
        made.add("output", role, std::vector<float>{1, 0.5f + wrong}, {2, 1});
      }
      if (role == "B") {
        made.add("input", role, std::vector<float>{10, 20 + wrong}, {2});
        made.write("output_Y.npy", "head" + bytes_of(std::vector<float>{8, 24, 8, 24}));
      }
      CHECK(made.check().status() == (wrong == 0.0f ? Status::passed : Status::failed));
    }
  }
}

TEST_CASE("Softmax is over its axis") {
  check_passes(softmax_case(json::object(), {3, 2}, {0.25f, 0.75f, 0.5f, 0.5f, 0.5f, 0.5f}));
  check_passes(softmax_case({{"axis", 0}}, {3, 2}, {0.125f, 0.3f, 0.25f, 0.2f, 0.625f, 0.5f}));
  check_passes(softmax_case({{"axis", -2}}, {1, 3, 2}, {0.125f, 0.3f, 0.25f, 0.2f, 0.625f, 0.5f}));
  check_passes(
      softmax_case({{"axis", 1}}, {1, 3, 1, 2}, {0.125f, 0.3f, 0.25f, 0.2f, 0.625f, 0.5f}));
}

TEST_CASE("an inconsistent case of an operator of rows fails with a sentence") {
  const std::vector<float> six(6);
  CHECK(sentence(softmax_case({{"axis", 2}}, {3, 2}, six)) == "axis 2 is outside the shape [3, 2]");
  CHECK(sentence(softmax_case({{"axis", -3}}, {3, 2}, six)) ==
        "axis -3 is outside the shape [3, 2]");
  CaseFolder flat = softmax_case(json::object(), {3, 2}, six);
  flat.facts["tensors"][1]["shape"] = {2, 3};
  CHECK(sentence(flat) == "tensor 'output' has shape [2, 3], the other tensors give [3, 2]");

  CHECK(sentence(layer_norm_case({{"axis", -2}}, {2, 2}, {2})) ==
        "tensor 'Scale' has shape [2], the other tensors give [2, 2]");
  for (const auto& [io, role] :
       {std::pair("input", "B"), std::pair("output", "Mean"), std::pair("output", "InvStdDev")}) {
    CaseFolder made = layer_norm_case(kNoEpsilon, {2, 2}, {2});
    made.add(io, role, six, {6});
    CHECK(sentence(made).starts_with("tensor '" + std::string(role) + "' has shape [6]"));
  }
}

TEST_CASE("operators of rows name what they lack") {
  using Names = std::vector<std::string>;
  CHECK(layer_norm_case({{"stash_type", 10}}, {2, 2}, {2}).check().needs == Names{"stash_type 10"});
  CHECK(softmax_case({{"mode", 1}}, {3, 2}, std::vector<float>(6)).check().needs ==
        Names{"attribute mode"});
}

}  // namespace rapt::test
