// The ONNX operator RMSNormalization (opset 23) expressed in rms_norm(): the extents from `axis` on
// are one row.
#include "conformance/check_attention.hpp"
#include "rapt/rms_norm.hpp"

#include <array>
#include <string>

namespace rapt::conformance {
namespace {

std::vector<std::string> missing_options(const Case& facts) {
  Needs needs;
  needs.add_unknown(facts, {"axis", "epsilon"}, {"X", "scale"}, {"Y"});
  for (const char* role : {"X", "scale"}) needs.add_storage(facts.find_input(role), kTensorTypes);
  return needs.take();
}

}  // namespace

Outcome run_rms_normalization(const Case& facts) {
  Outcome outcome{.needs = missing_options(facts), .comparisons = {}};
  if (!outcome.needs.empty()) return outcome;

  const Shape& shape = facts.input("X").shape;
  const SplitShape split(facts, shape);
  require_shape(facts.input("scale"), split.from_axis);
  require_shape(facts.output("Y"), shape);
  const std::array rows{element_count(split.before), element_count(split.from_axis)};
  const DType type = facts.input("X").dtype;
  Elements x(facts.input("X")), y = Elements::unwritten(type, rows[0] * rows[1]);
  rms_norm(x.view(rows), y.view(rows), facts.input("scale").floats(),
           static_cast<float>(facts.real("epsilon", 1e-5)));
  outcome.comparisons.push_back(
      compare(facts.output("Y"), y.floats(), facts.tolerance(std::string(dtype_name(type)))));
  return outcome;
}

}  // namespace rapt::conformance
