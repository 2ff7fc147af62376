// The ONNX operator RMSNormalization (opset 23) expressed in rms_norm(): the extents from `axis` on
// are one row.
#include "conformance/check_attention.hpp"
#include "rapt/error.hpp"
#include "rapt/rms_norm.hpp"

#include <array>
#include <functional>
#include <limits>
#include <numeric>

namespace rapt::conformance {
namespace {

std::vector<std::string> missing_options(const Case& facts) {
  Needs needs;
  needs.add_unknown(facts, {"axis", "epsilon"}, {"X", "scale"}, {"Y"});
  for (const char* role : {"X", "scale"}) needs.add_storage(facts.find_input(role), {DType::f32});
  return needs.take();
}

/// The first normalised dimension of a shape.
std::size_t first_axis(const Case& facts, const Shape& shape) {
  const auto rank = static_cast<std::int64_t>(shape.size());
  const std::int64_t axis = facts.integer("axis", -1);
  if (axis < -rank || axis >= rank) {
    throw Error(ErrorCode::malformed_file,
                "axis " + std::to_string(axis) + " is outside the shape " + to_text(shape));
  }
  return static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
}

}  // namespace

Outcome run_rms_normalization(const Case& facts) {
  Outcome outcome{.needs = missing_options(facts), .comparisons = {}};
  if (!outcome.needs.empty()) return outcome;

  const Shape& shape = facts.input("X").shape;
  const auto axis = shape.begin() + static_cast<std::ptrdiff_t>(first_axis(facts, shape));
  require_shape(facts.input("scale"), Shape(axis, shape.end()));
  require_shape(facts.output("Y"), shape);
  const auto extent = [](auto from, auto to) {
    return std::accumulate(from, to, std::int64_t{1}, std::multiplies<>());
  };
  const std::array rows{extent(shape.begin(), axis), extent(axis, shape.end())};
  const std::vector<float> x = facts.input("X").floats(), scale = facts.input("scale").floats();
  std::vector<float> y(x.size(), std::numeric_limits<float>::quiet_NaN());
  rms_norm({x.data(), rows}, {y.data(), rows}, scale,
           static_cast<float>(facts.real("epsilon", 1e-5)));
  outcome.comparisons.push_back(compare(facts.output("Y"), y, facts.tolerance("f32")));
  return outcome;
}

}  // namespace rapt::conformance
