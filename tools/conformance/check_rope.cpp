// The ONNX operator RotaryEmbedding (opset 23) expressed in apply_rope(): without position_ids the
// caches have a row for each token of each sequence.
#include "conformance/check_attention.hpp"
#include "core/counted.hpp"
#include "rapt/error.hpp"
#include "rapt/rope.hpp"

#include <numeric>

namespace rapt::conformance {
namespace {

std::vector<std::string> missing_options(const Case& facts) {
  Needs needs;
  needs.add_unknown(facts, {"interleaved", "num_heads", "rotary_embedding_dim"},
                    {"X", "cos_cache", "sin_cache", "position_ids"}, {"Y"});
  for (const char* role : {"X", "cos_cache", "sin_cache"}) {
    needs.add_storage(facts.find_input(role), kTensorTypes);
  }
  return needs.take();
}

/// [batch, heads, tokens, head_dim] unchanged, or [batch, tokens, heads * head_dim].
Heads read_heads(const Case& facts) {
  const CaseTensor& x = facts.input("X");
  const Shape& shape = x.shape;
  if (shape.size() == 4) return heads_of(x, {shape[0], shape[1], shape[2], shape[3]}, false);
  require_rank(x, 3);
  const std::int64_t heads = facts.integer("num_heads", 0);
  if (heads < 1 || shape[2] % heads != 0) {
    throw Error(ErrorCode::malformed_file, "num_heads " + std::to_string(heads) +
                                               " does not divide the last extent of " +
                                               to_text(shape));
  }
  return heads_of(x, {shape[0], shape[1], heads, shape[2] / heads}, true);
}

/// Rows of cos or sin: [rows, pairs], or [batch, tokens, pairs] with a row for each token.
struct Cache {
  Cache(const Case& facts, const char* role, bool per_token) : values(facts.input(role).floats()) {
    const CaseTensor& tensor = facts.input(role);
    require_rank(tensor, per_token ? 3 : 2);
    const Shape& s = tensor.shape;
    view = {values.data(), {per_token ? s[0] * s[1] : s[0], per_token ? s[2] : s[1]}};
  }

  std::vector<float> values;
  TensorView<const float, 2> view;
};

}  // namespace

Outcome run_rotary_embedding(const Case& facts) {
  Outcome outcome{.needs = missing_options(facts), .comparisons = {}};
  if (!outcome.needs.empty()) return outcome;

  const Heads x = read_heads(facts);
  const auto& [batch, heads, tokens, head_dim] = x.view.shape;
  const CaseTensor* ids = facts.find_input("position_ids");
  const Cache cos(facts, "cos_cache", ids == nullptr), sin(facts, "sin_cache", ids == nullptr);
  const std::int64_t given = facts.integer("rotary_embedding_dim", 0);
  const std::int64_t rotary_dims = given == 0 ? head_dim : given;
  if (cos.view.shape[1] * 2 != rotary_dims) {
    throw Error(ErrorCode::malformed_file,
                "cos_cache of " + core::counted(cos.view.shape[1], "pair") +
                    " does not match rotary dims " + std::to_string(rotary_dims));
  }

  std::vector<std::int64_t> positions(static_cast<std::size_t>(batch * tokens));
  std::iota(positions.begin(), positions.end(), std::int64_t{0});
  if (ids != nullptr) {
    require_shape(*ids, {batch, tokens});
    positions = ids->integers();
  }
  require_shape(facts.output("Y"), facts.input("X").shape);
  const DType type = x.view.dtype;
  const bool rank3 = facts.input("X").shape.size() == 3;
  Heads y = rank3 ? unwritten_tokens_first(type, x.view.shape) : unwritten(type, x.view.shape);
  const Rope style = facts.integer("interleaved", 0) != 0 ? Rope::interleaved : Rope::half;
  apply_rope(x.view, y.view, {style, cos.view, sin.view},
             TensorView<const std::int64_t, 2>(positions.data(), {batch, tokens}));
  outcome.comparisons.push_back(compare(facts.output("Y"), y.elements.floats(),
                                        facts.tolerance(std::string(dtype_name(type)))));
  return outcome;
}

}  // namespace rapt::conformance
