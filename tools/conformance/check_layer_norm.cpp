// The ONNX operator LayerNormalization (opset 17) expressed in layer_norm(): the extents from
// `axis` on are one row.
#include "conformance/check_attention.hpp"
#include "rapt/layer_norm.hpp"

#include <array>
#include <limits>
#include <utility>

namespace rapt::conformance {
namespace {

std::vector<std::string> missing_options(const Case& facts) {
  Needs needs;
  needs.add_unknown(facts, {"axis", "epsilon", "stash_type"}, {"X", "Scale", "B"},
                    {"Y", "Mean", "InvStdDev"});
  const std::int64_t stash_type = facts.integer("stash_type", 1);
  needs.add(stash_type != 1, "stash_type " + std::to_string(stash_type));
  for (const char* role : {"X", "Scale", "B"}) {
    needs.add_storage(facts.find_input(role), {DType::f32});
  }
  return needs.take();
}

/// The results of a call, NaN where it writes nothing.
std::vector<float> unwritten(std::int64_t count) {
  return std::vector<float>(static_cast<std::size_t>(count),
                            std::numeric_limits<float>::quiet_NaN());
}

}  // namespace

Outcome run_layer_normalization(const Case& facts) {
  Outcome outcome{.needs = missing_options(facts), .comparisons = {}};
  if (!outcome.needs.empty()) return outcome;

  const Shape& shape = facts.input("X").shape;
  const SplitShape split(facts, shape);
  const std::array rows{element_count(split.before), element_count(split.from_axis)};
  Shape one_per_row = split.before;
  one_per_row.resize(shape.size(), 1);
  require_shape(facts.input("Scale"), split.from_axis);
  require_shape(facts.output("Y"), shape);
  const std::vector<float> x = facts.input("X").floats(), scale = facts.input("Scale").floats();
  std::vector<float> bias;
  if (const CaseTensor* given = facts.find_input("B")) {
    require_shape(*given, split.from_axis);
    bias = given->floats();
  }

  std::vector<float> y = unwritten(rows[0] * rows[1]), mean = unwritten(rows[0]), inverse = mean;
  layer_norm({x.data(), rows}, {y.data(), rows},
             {.weight = scale,
              .bias = bias,
              .epsilon = static_cast<float>(facts.real("epsilon", 1e-5)),
              .mean = mean,
              .inverse_deviation = inverse});
  outcome.comparisons.push_back(compare(facts.output("Y"), y, facts.tolerance("f32")));
  for (const auto& [role, values] : {std::pair("Mean", &mean), std::pair("InvStdDev", &inverse)}) {
    const CaseTensor* want = facts.find_output(role);
    if (want == nullptr) continue;
    require_shape(*want, one_per_row);
    outcome.comparisons.push_back(compare(*want, *values, facts.tolerance("f32")));
  }
  return outcome;
}

}  // namespace rapt::conformance
