// The ONNX operator Attention (opsets 23 and 24) expressed in attention(): the cache is
// concatenated here, 3-D tensors are views, nonpad_kv_seqlen becomes kv_lens and an offset per
// sequence.
#include <utility>

#include "check_attention.hpp"
#include "rapt/error.hpp"

namespace rapt::conformance {
namespace {

/// What attention() lacks for this case. A new option of the library replaces a line here by one in
/// options_of().
std::vector<std::string> missing_options(const Case& facts) {
  Needs needs;
  needs.add_unknown(facts,
                    {"is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale",
                     "softcap", "softmax_precision"},
                    {"Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"},
                    {"Y", "present_key", "present_value", "qk_matmul_output", "Y_care"});
  for (const char* role : {"Q", "K", "V", "past_key", "past_value"}) {
    needs.add_storage(facts.find_input(role), {DType::f32});
  }
  needs.add_storage(facts.find_input("attn_mask"), {DType::f32, DType::boolean});
  needs.add(facts.find_output("qk_matmul_output") != nullptr &&
                facts.integer("qk_matmul_output_mode", 0) != 3,
            "scores out");
  // ONNX's number for float: the only precision in which attention() computes.
  const std::int64_t precision = facts.integer("softmax_precision", 1);
  needs.add(precision != 1, "softmax_precision " + std::to_string(precision));
  return needs.take();
}

/// [batch, heads, tokens, dim] as it lies, or [batch, tokens, heads * dim] split by
/// `heads_attribute`.
Heads split_heads(const Case& facts, const char* role, const std::string& heads_attribute) {
  const CaseTensor& tensor = facts.input(role);
  const Shape& shape = tensor.shape;
  if (shape.size() == 4) {
    return heads_of(tensor, {shape[0], shape[1], shape[2], shape[3]}, false);
  }
  require_rank(tensor, 3);
  const std::int64_t heads = facts.integer(heads_attribute, 0);
  if (heads < 1 || shape[2] % heads != 0) {
    throw Error(ErrorCode::malformed_file, heads_attribute + " " + std::to_string(heads) +
                                               " does not divide the last extent of " +
                                               to_text(shape) + " of tensor '" + role + "'");
  }
  return heads_of(tensor, {shape[0], shape[1], heads, shape[2] / heads}, true);
}

void copy_into(TensorView<const float, 4> from, TensorView<float, 4> to) {
  for (std::int64_t b = 0; b < from.shape[0]; ++b) {
    for (std::int64_t h = 0; h < from.shape[1]; ++h) {
      for (std::int64_t i = 0; i < from.shape[2]; ++i) {
        for (std::int64_t d = 0; d < from.shape[3]; ++d) to(b, h, i, d) = from(b, h, i, d);
      }
    }
  }
}

/// The cache's keys or values, then the new ones.
Heads with_past(const Case& facts, const char* past_role, const Heads& now) {
  const auto& shape = now.view.shape;
  const CaseTensor& past = facts.input(past_role);
  require_rank(past, 4);
  const std::int64_t past_len = past.shape[2];
  require_shape(past, {shape[0], shape[1], past_len, shape[3]});
  const Heads before = heads_of(past, {shape[0], shape[1], past_len, shape[3]}, false);
  Heads all = unwritten({shape[0], shape[1], past_len + shape[2], shape[3]});
  copy_into(before.view, all.view.sliced(2, 0, past_len));
  copy_into(now.view, all.view.sliced(2, past_len, shape[2]));
  return all;
}

Heads dense_copy(const Heads& heads) {
  Heads copy = unwritten(heads.view.shape);
  copy_into(heads.view, copy.view);
  return copy;
}

/// Everything that the options of one call point to.
struct Inputs {
  Heads q, k, v;
  std::vector<std::int64_t> kv_lens;
  std::vector<std::int64_t> query_offsets;
  std::optional<ElementMask> element_mask;
};

Inputs read_inputs(const Case& facts) {
  Inputs in{.q = split_heads(facts, "Q", "q_num_heads"),
            .k = split_heads(facts, "K", "kv_num_heads"),
            .v = split_heads(facts, "V", "kv_num_heads"),
            .kv_lens = {},
            .query_offsets = {},
            .element_mask = {}};
  std::int64_t past_len = 0;
  if (facts.find_input("past_key") != nullptr || facts.find_input("past_value") != nullptr) {
    const std::int64_t new_keys = in.k.view.shape[2];
    in.k = with_past(facts, "past_key", in.k);
    in.v = with_past(facts, "past_value", in.v);
    past_len = in.k.view.shape[2] - new_keys;
  }
  in.query_offsets.assign(static_cast<std::size_t>(in.q.view.shape[0]), past_len);
  if (const CaseTensor* nonpad = facts.find_input("nonpad_kv_seqlen")) {
    require_shape(*nonpad, {in.q.view.shape[0]});
    if (past_len > 0) {
      throw Error(ErrorCode::malformed_file, "nonpad_kv_seqlen and past_key are both given");
    }
    in.kv_lens = nonpad->integers();
    in.query_offsets.clear();
    for (const std::int64_t length : in.kv_lens) {
      in.query_offsets.push_back(length - in.q.view.shape[2]);
    }
  }
  if (const CaseTensor* mask = facts.find_input("attn_mask")) {
    // The padding comes before any broadcasting: a last extent of 1 is one key, not all of them.
    in.element_mask.emplace(*mask, in.k.view.shape[2]);
  }
  return in;
}

AttentionOptions options_of(const Case& facts, const Inputs& in) {
  AttentionOptions options;
  if (facts.has("scale")) options.softmax_scale = static_cast<float>(facts.real("scale", 0));
  // 0, the operator's default, is none.
  if (facts.real("softcap", 0) != 0) {
    options.soft_cap = static_cast<float>(facts.real("softcap", 0));
  }
  if (facts.integer("is_causal", 0) != 0) options.mask = causal(in.query_offsets);
  options.kv_lens = in.kv_lens;
  if (in.element_mask) in.element_mask->apply_to(options);
  return options;
}

}  // namespace

Outcome run_onnx_attention(const Case& facts, const Attention& attention) {
  Outcome outcome{.needs = missing_options(facts), .comparisons = {}};
  if (!outcome.needs.empty()) return outcome;

  const Inputs in = read_inputs(facts);
  AttentionOptions options = options_of(facts, in);
  const Tolerance& tolerance = facts.tolerance("f32");
  const CaseTensor& want = facts.output("Y");
  const auto& [batch, heads, q_len, head_dim] = in.q.view.shape;
  const std::int64_t kv_len = in.k.view.shape[2];
  const std::int64_t value_dim = in.v.view.shape[3];

  const bool rank3 = facts.input("Q").shape.size() == 3;
  require_shape(
      want, rank3 ? Shape{batch, q_len, heads * value_dim} : Shape{batch, heads, q_len, value_dim});
  const TensorView<float, 4>::Index out_shape{batch, heads, q_len, value_dim};
  Heads out = rank3 ? unwritten_tokens_first(out_shape) : unwritten(out_shape);

  const CaseTensor* want_weights = facts.find_output("qk_matmul_output");
  Heads weights;
  if (want_weights != nullptr) {
    require_shape(*want_weights, {batch, heads, q_len, kv_len});
    weights = unwritten({batch, heads, q_len, kv_len});
    options.weights = weights.view;
  }

  attention.padded(in.q.view, in.k.view, in.v.view, out.view, options);

  outcome.comparisons.push_back(compare(want, out.values, tolerance, facts.find_output("Y_care")));
  if (want_weights != nullptr) {
    outcome.comparisons.push_back(compare(*want_weights, weights.values, tolerance));
  }
  for (const auto& [role, present] : {std::pair{"present_key", &in.k}, {"present_value", &in.v}}) {
    if (const CaseTensor* want_present = facts.find_output(role)) {
      const auto& shape = present->view.shape;
      require_shape(*want_present, {shape[0], shape[1], shape[2], shape[3]});
      outcome.comparisons.push_back(compare(*want_present, dense_copy(*present).values, tolerance));
    }
  }
  return outcome;
}

}  // namespace rapt::conformance
