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
    needs.add_storage(facts.find_input(role), kTensorTypes);
  }
  return needs.take();
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
  const DType type = facts.input("X").dtype;
  const std::vector<float> scale = facts.input("Scale").floats();
  std::vector<float> bias;
  if (const CaseTensor* given = facts.find_input("B")) {
    require_shape(*given, split.from_axis);
    bias = given->floats();
  }

  Elements x(facts.input("X")), y = Elements::unwritten(type, rows[0] * rows[1]);
  std::vector<float> mean(static_cast<std::size_t>(rows[0]),
                          std::numeric_limits<float>::quiet_NaN());
  std::vector<float> inverse = mean;
  layer_norm(x.view(rows), y.view(rows),
             {.weight = scale,
              .bias = bias,
              .epsilon = static_cast<float>(facts.real("epsilon", 1e-5)),
              .mean = mean,
              .inverse_deviation = inverse});
  const Tolerance& tolerance = facts.tolerance(std::string(dtype_name(type)));
  outcome.comparisons.push_back(compare(facts.output("Y"), y.floats(), tolerance));
  for (const auto& [role, values] : {std::pair("Mean", &mean), std::pair("InvStdDev", &inverse)}) {
    const CaseTensor* want = facts.find_output(role);
    if (want == nullptr) continue;
    require_shape(*want, one_per_row);
    outcome.comparisons.push_back(compare(*want, *values, tolerance));
  }
  return outcome;
}

}  // namespace rapt::conformance
