// The ONNX operator Attention (opsets 23 and 24) expressed in attention(): the cache is
// concatenated here, 3-D tensors are views, nonpad_kv_seqlen becomes kv_lens and an offset per
// sequence.
#include "conformance/check_attention.hpp"
#include "rapt/error.hpp"
#include "reference/visibility.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

namespace rapt::conformance {
namespace {

/// ONNX's codes for the contents of qk_matmul_output.
enum QkMatmulOutput : std::int64_t { kScaled = 0, kCapped = 1, kMasked = 2, kWeights = 3 };

/// The options of this case that attention() lacks. A new option of the library replaces a line
/// here by one in options_of().
std::vector<std::string> missing_options(const Case& facts) {
  Needs needs;
  needs.add_unknown(facts,
                    {"is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale",
                     "softcap", "softmax_precision"},
                    {"Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"},
                    {"Y", "present_key", "present_value", "qk_matmul_output", "Y_care"});
  for (const char* role : {"Q", "K", "V", "past_key", "past_value"}) {
    needs.add_storage(facts.find_input(role), kTensorTypes);
  }
  needs.add_storage(facts.find_input("attn_mask"),
                    {DType::f32, DType::bf16, DType::f16, DType::boolean});
  const std::int64_t mode = facts.integer("qk_matmul_output_mode", 0);
  needs.add(mode < kScaled || mode > kWeights, "qk_matmul_output_mode " + std::to_string(mode));
  // ONNX's code for float: the only precision in which attention() computes.
  const std::int64_t precision = facts.integer("softmax_precision", 1);
  needs.add(precision != 1, "softmax_precision " + std::to_string(precision));
  return needs.take();
}

/// [batch, heads, tokens, dim] unchanged, or [batch, tokens, heads * dim] split by
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

/// Between views of one type.
void copy_into(TensorView<const void, 4> from, TensorView<void, 4> to) {
  const auto place = [](const auto& view, const std::array<std::int64_t, 4>& at) {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < 4; ++i) offset += at[i] * view.strides[i];
    return view.at(offset);
  };
  for (std::int64_t b = 0; b < from.shape[0]; ++b) {
    for (std::int64_t h = 0; h < from.shape[1]; ++h) {
      for (std::int64_t i = 0; i < from.shape[2]; ++i) {
        for (std::int64_t d = 0; d < from.shape[3]; ++d) {
          std::memcpy(place(to, {b, h, i, d}), place(from, {b, h, i, d}), dtype_size(to.dtype));
        }
      }
    }
  }
}

/// Concatenates the cache's keys or values and the new ones.
Heads with_past(const Case& facts, const char* past_role, const Heads& now) {
  const auto& shape = now.view.shape;
  const CaseTensor& past = facts.input(past_role);
  require_rank(past, 4);
  const std::int64_t past_len = past.shape[2];
  require_shape(past, {shape[0], shape[1], past_len, shape[3]});
  if (past.dtype != now.view.dtype) {
    throw Error(ErrorCode::malformed_file, std::string("tensor '") + past_role + "' is " +
                                               past.dtype_word + ", the new tokens are " +
                                               std::string(dtype_name(now.view.dtype)));
  }
  const Heads before = heads_of(past, {shape[0], shape[1], past_len, shape[3]}, false);
  Heads all = unwritten(past.dtype, {shape[0], shape[1], past_len + shape[2], shape[3]});
  copy_into(before.view, all.view.sliced(2, 0, past_len));
  copy_into(now.view, all.view.sliced(2, past_len, shape[2]));
  return all;
}

Heads dense_copy(const Heads& heads) {
  Heads copy = unwritten(heads.view.dtype, heads.view.shape);
  copy_into(heads.view, copy.view);
  return copy;
}

/// The memory that the options of one call point to.
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
    // Padding precedes broadcasting: a last extent of 1 is one key, not all of them.
    in.element_mask.emplace(*mask, in.k.view.shape[2]);
  }
  return in;
}

AttentionOptions options_of(const Case& facts, Inputs& in) {
  AttentionOptions options;
  if (facts.has("scale")) options.softmax_scale = static_cast<float>(facts.real("scale", 0));
  // 0, the operator's default, means no softcap.
  if (facts.real("softcap", 0) != 0) {
    options.soft_cap = static_cast<float>(facts.real("softcap", 0));
  }
  if (facts.integer("is_causal", 0) != 0) options.mask = causal(in.query_offsets);
  options.kv_lens = in.kv_lens;
  if (in.element_mask) in.element_mask->apply_to(options);
  return options;
}

/// The scores of kScaled, kCapped or kMasked, from a score callback in a call with the options up
/// to that step. A hidden key's score is -inf.
Heads scores_of(const Inputs& in, const AttentionOptions& all, std::int64_t mode,
                const Attention& attention) {
  const auto& [batch, heads, q_len, head_dim] = in.q.view.shape;
  AttentionOptions options = all;
  if (mode != kMasked) {
    options = {.softmax_scale = all.softmax_scale};
    if (mode == kCapped) options.soft_cap = all.soft_cap;
  }
  const std::array<std::int64_t, 4> shape{batch, heads, q_len, in.k.view.shape[2]};
  const auto count = static_cast<std::size_t>(element_count({shape.begin(), shape.end()}));
  Heads scores{
      Elements(DType::f32, std::vector<float>(count, -std::numeric_limits<float>::infinity())), {}};
  scores.view = scores.elements.view(shape);
  const TensorView<float, 4> score = scores.view.as<float>();
  const auto capture = [&](const ScoreTile& tile) {
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      for (std::int64_t c = 0; c < tile.columns; ++c) {
        const std::int64_t i = tile.first_query + r, j = tile.first_key + c;
        if (options.bool_mask.values.data != nullptr &&
            !reference::kept(options.bool_mask, tile.batch, tile.head, i, j)) {
          continue;
        }
        score(tile.batch, tile.head, i, j) = tile.scores[r * tile.row_stride + c];
      }
    }
  };
  options.score_callback = capture;
  Heads ignored = unwritten(DType::f32, {batch, heads, q_len, in.v.view.shape[3]});
  attention.padded(in.q.view, in.k.view, in.v.view, ignored.view, options);
  return scores;
}

}  // namespace

Outcome run_onnx_attention(const Case& facts, const Attention& attention) {
  Outcome outcome{.needs = missing_options(facts), .comparisons = {}};
  if (!outcome.needs.empty()) return outcome;

  Inputs in = read_inputs(facts);
  AttentionOptions options = options_of(facts, in);
  const DType type = in.q.view.dtype;
  const Tolerance& tolerance = facts.tolerance(std::string(dtype_name(type)));
  const CaseTensor& want = facts.output("Y");
  const auto& [batch, heads, q_len, head_dim] = in.q.view.shape;
  const std::int64_t kv_len = in.k.view.shape[2];
  const std::int64_t value_dim = in.v.view.shape[3];

  const bool rank3 = facts.input("Q").shape.size() == 3;
  require_shape(
      want, rank3 ? Shape{batch, q_len, heads * value_dim} : Shape{batch, heads, q_len, value_dim});
  const TensorView<void, 4>::Index out_shape{batch, heads, q_len, value_dim};
  Heads out = rank3 ? unwritten_tokens_first(type, out_shape) : unwritten(type, out_shape);

  const CaseTensor* want_products = facts.find_output("qk_matmul_output");
  Heads products;
  if (want_products != nullptr) {
    require_shape(*want_products, {batch, heads, q_len, kv_len});
    if (const std::int64_t mode = facts.integer("qk_matmul_output_mode", 0); mode != kWeights) {
      products = scores_of(in, options, mode, attention);
    } else {
      products = unwritten(DType::f32, {batch, heads, q_len, kv_len});
      options.weights = products.view.as<float>();
    }
  }

  attention.padded(in.q.view, in.k.view, in.v.view, out.view, options);

  outcome.comparisons.push_back(
      compare(want, out.elements.floats(), tolerance, facts.find_output("Y_care")));
  if (want_products != nullptr) {
    outcome.comparisons.push_back(compare(*want_products, products.elements.floats(), tolerance));
  }
  for (const auto& [role, present] : {std::pair{"present_key", &in.k}, {"present_value", &in.v}}) {
    if (const CaseTensor* want_present = facts.find_output(role)) {
      const auto& shape = present->view.shape;
      require_shape(*want_present, {shape[0], shape[1], shape[2], shape[3]});
      outcome.comparisons.push_back(
          compare(*want_present, dense_copy(*present).elements.floats(), tolerance));
    }
  }
  return outcome;
}

}  // namespace rapt::conformance
