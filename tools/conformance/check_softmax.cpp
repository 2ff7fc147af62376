// The ONNX operator Softmax (opset 13) expressed in softmax(): a copy in which `axis` is the last
// dimension.
#include "conformance/check_attention.hpp"
#include "rapt/softmax.hpp"

#include <array>
#include <string>

namespace rapt::conformance {
namespace {

std::vector<std::string> missing_options(const Case& facts) {
  Needs needs;
  needs.add_unknown(facts, {"axis"}, {"input"}, {"output"});
  needs.add_storage(facts.find_input("input"), kTensorTypes);
  return needs.take();
}

/// Element [a, b, c] of the result is element [a, c, b] of `values`.
///   shape  of `values`
std::vector<float> swapped(const std::vector<float>& values,
                           const std::array<std::int64_t, 3>& shape) {
  const TensorView<const float, 3> from(values.data(), shape);
  std::vector<float> result;
  for (std::int64_t a = 0; a < shape[0]; ++a) {
    for (std::int64_t c = 0; c < shape[2]; ++c) {
      for (std::int64_t b = 0; b < shape[1]; ++b) result.push_back(from(a, b, c));
    }
  }
  return result;
}

}  // namespace

Outcome run_softmax(const Case& facts) {
  Outcome outcome{.needs = missing_options(facts), .comparisons = {}};
  if (!outcome.needs.empty()) return outcome;

  const Shape& shape = facts.input("input").shape;
  const SplitShape split(facts, shape);
  require_shape(facts.output("output"), shape);
  const std::int64_t before = element_count(split.before), width = split.from_axis[0],
                     after = element_count({split.from_axis.begin() + 1, split.from_axis.end()});
  const DType type = facts.input("input").dtype;
  const std::array rows{before * after, width};
  Elements x(type, swapped(facts.input("input").floats(), {before, width, after}));
  Elements y = Elements::unwritten(type, rows[0] * rows[1]);
  softmax(x.view(rows), y.view(rows));
  outcome.comparisons.push_back(compare(facts.output("output"),
                                        swapped(y.floats(), {before, after, width}),
                                        facts.tolerance(std::string(dtype_name(type)))));
  return outcome;
}

}  // namespace rapt::conformance
