// The suite's operator AttentionX expressed in attention(): layouts are views, packed sequences a
// ragged batch.
#include "conformance/check_attention.hpp"
#include "rapt/error.hpp"

#include <algorithm>
#include <array>

namespace rapt::conformance {
namespace {

using Index4 = TensorView<void, 4>::Index;

/// The options of this case that attention() lacks. A new option of the library replaces a line
/// here by one in options_of().
std::vector<std::string> missing_options(const Case& facts) {
  const bool packed = facts.word("layout", "BHSD") == "packed";
  Needs needs;
  needs.add(facts.find_input("K_i8") != nullptr || facts.find_input("V_i8") != nullptr,
            "int8 keys and values");
  for (const char* role : {"Q", "K", "V", "QKV", "alibi_slopes", "sinks", "rope_cos", "rope_sin"}) {
    needs.add_storage(facts.find_input(role), kTensorTypes);
  }
  needs.add_storage(facts.find_input("attn_mask"),
                    {DType::f32, DType::bf16, DType::f16, DType::boolean});
  needs.add(packed && facts.find_input("attn_mask") != nullptr, "mask over packed sequences");
  needs.add(packed && facts.find_input("seqlen_k") != nullptr, "seqlen_k of packed sequences");
  needs.add_unknown(facts,
                    {"layout", "scale", "causal", "align", "window_left", "window_right", "softcap",
                     "rope_style", "rope_dim", "rope_base"},
                    {"Q",
                     "K",
                     "V",
                     "QKV",
                     "attn_mask",
                     "seqlen_k",
                     "cu_seqlens_q",
                     "cu_seqlens_k",
                     "alibi_slopes",
                     "sinks",
                     "rope_cos",
                     "rope_sin",
                     "rope_pos_q",
                     "rope_pos_k",
                     "K_i8",
                     "K_scale",
                     "K_zero_point",
                     "V_i8",
                     "V_scale",
                     "V_zero_point"},
                    {"Y", "lse", "Y_care"});
  return needs.take();
}

/// The memory that the options of one call point to.
struct Inputs {
  std::vector<Heads> tensors;  ///< q, k, v, or one packed tensor of them
  TensorView<const void, 4> q, k, v;
  std::vector<std::int64_t> kv_lens;
  std::vector<float> alibi_slopes, sinks;
  std::optional<ElementMask> element_mask;
  std::vector<float> rope_cos, rope_sin;
  std::vector<std::int64_t> rope_pos_q, rope_pos_k;
  RopeOptions rope;
};

/// [batch, heads, tokens, dim] of a layout with separate q, k and v; packed rows are one sequence.
Heads separate(const CaseTensor& tensor, const std::string& layout) {
  const Shape& shape = tensor.shape;
  if (layout == "packed") {
    require_rank(tensor, 3);
    return heads_of(tensor, {1, shape[0], shape[1], shape[2]}, true);
  }
  require_rank(tensor, 4);
  return heads_of(tensor, {shape[0], shape[1], shape[2], shape[3]}, layout == "BSHD");
}

/// Positions of the tokens, the same in every sequence.
TensorView<const std::int64_t, 2> read_positions(const CaseTensor& tensor, std::int64_t tokens,
                                                 std::vector<std::int64_t>& positions) {
  require_shape(tensor, {tokens});
  positions = tensor.integers();
  return {positions.data(), {1, tokens}};
}

void read_rope(const Case& facts, Inputs& in) {
  if (facts.find_input("rope_cos") == nullptr) return;
  const CaseTensor& cos = facts.input("rope_cos");
  require_rank(cos, 2);
  require_shape(facts.input("rope_sin"), cos.shape);
  if (facts.integer("rope_dim", 2 * cos.shape[1]) != 2 * cos.shape[1]) {
    throw Error(ErrorCode::malformed_file, "rope_dim does not match the tables");
  }
  const std::string style = facts.word("rope_style", "half");
  if (style != "half" && style != "interleaved") {
    throw Error(ErrorCode::malformed_file, "rope_style '" + style + "' is unknown");
  }
  in.rope_cos = cos.floats();
  in.rope_sin = facts.input("rope_sin").floats();
  const std::array table{cos.shape[0], cos.shape[1]};
  in.rope.table = {style == "half" ? Rope::half : Rope::interleaved,
                   {in.rope_cos.data(), table},
                   {in.rope_sin.data(), table}};
  in.rope.q_positions = read_positions(facts.input("rope_pos_q"), in.q.shape[2], in.rope_pos_q);
  in.rope.k_positions = read_positions(facts.input("rope_pos_k"), in.k.shape[2], in.rope_pos_k);
}

/// The values of an input with one value per head; none if the case lacks it.
std::vector<float> per_head(const Case& facts, const char* role, std::int64_t heads) {
  const CaseTensor* tensor = facts.find_input(role);
  if (tensor == nullptr) return {};
  require_shape(*tensor, {heads});
  return tensor->floats();
}

Inputs read_inputs(const Case& facts, const std::string& layout) {
  Inputs in;
  if (layout == "BS3HD") {
    const CaseTensor& qkv = facts.input("QKV");
    require_rank(qkv, 5);
    const Shape& shape = qkv.shape;
    require_shape(qkv, {shape[0], shape[1], 3, shape[3], shape[4]});
    in.tensors.push_back(heads_of(qkv, {shape[0], shape[1], 3 * shape[3], shape[4]}, true));
    const TensorView<const void, 4> all = in.tensors[0].view;
    in.q = all.sliced(1, 0, shape[3]);
    in.k = all.sliced(1, shape[3], shape[3]);
    in.v = all.sliced(1, 2 * shape[3], shape[3]);
  } else if (layout == "BHSD" || layout == "BSHD" || layout == "packed") {
    for (const char* role : {"Q", "K", "V"}) {
      in.tensors.push_back(separate(facts.input(role), layout));
    }
    in.q = in.tensors[0].view;
    in.k = in.tensors[1].view;
    in.v = in.tensors[2].view;
  } else {
    throw Error(ErrorCode::malformed_file, "layout '" + layout + "' is unknown");
  }
  if (const CaseTensor* seqlen = facts.find_input("seqlen_k")) {
    require_shape(*seqlen, {in.q.shape[0]});
    in.kv_lens = seqlen->integers();
  }
  if (const CaseTensor* mask = facts.find_input("attn_mask")) {
    in.element_mask.emplace(*mask, std::nullopt);
  }
  in.alibi_slopes = per_head(facts, "alibi_slopes", in.q.shape[1]);
  in.sinks = per_head(facts, "sinks", in.q.shape[1]);
  read_rope(facts, in);
  return in;
}

AttentionOptions options_of(const Case& facts, Inputs& in) {
  const std::string align = facts.word("align", "top_left");
  if (align != "top_left" && align != "bottom_right") {
    throw Error(ErrorCode::malformed_file, "align '" + align + "' is unknown");
  }
  AttentionOptions options;
  if (facts.has("scale")) options.softmax_scale = static_cast<float>(facts.real("scale", 0));
  options.mask = align == "top_left" ? causal_top_left() : causal_bottom_right();
  if (facts.integer("causal", 0) == 0) options.mask.kind = Mask::Kind::none;
  options.mask.window_left = facts.integer("window_left", kNoWindow);
  options.mask.window_right = facts.integer("window_right", kNoWindow);
  if (facts.real("softcap", 0) != 0) {
    options.soft_cap = static_cast<float>(facts.real("softcap", 0));
  }
  options.alibi_slopes = in.alibi_slopes;
  options.sinks = in.sinks;
  options.kv_lens = in.kv_lens;
  options.rope = in.rope;
  if (in.element_mask) in.element_mask->apply_to(options);
  return options;
}

/// The row offsets of packed sequences: from 0, ascending, to the number of rows.
std::vector<std::int64_t> sequence_rows(const CaseTensor& tensor, std::int64_t rows) {
  require_rank(tensor, 1);
  std::vector<std::int64_t> offsets = tensor.integers();
  if (offsets.empty() || offsets.front() != 0 || offsets.back() != rows ||
      !std::is_sorted(offsets.begin(), offsets.end())) {
    throw Error(ErrorCode::malformed_file,
                "tensor '" + tensor.role + "' does not ascend from 0 to " + std::to_string(rows));
  }
  return offsets;
}

/// [1, heads, rows, dim] as [rows, heads, dim].
template <class Void>
TensorView<Void, 3> packed_rows(const TensorView<Void, 4>& view) {
  return {view.data,
          view.dtype,
          {view.shape[2], view.shape[1], view.shape[3]},
          {view.strides[2], view.strides[1], view.strides[3]}};
}

void run_packed(const Case& facts, const Attention& attention, const Inputs& in,
                TensorView<void, 4> out, const AttentionOptions& options) {
  const auto q_rows = sequence_rows(facts.input("cu_seqlens_q"), in.q.shape[2]);
  const auto kv_rows = sequence_rows(facts.input("cu_seqlens_k"), in.k.shape[2]);
  if (q_rows.size() != kv_rows.size() || in.v.shape[2] != in.k.shape[2]) {
    throw Error(ErrorCode::malformed_file,
                "cu_seqlens_q, cu_seqlens_k, K and V disagree in the number of sequences or rows");
  }
  attention.ragged(packed_rows(in.q), packed_rows(in.k), packed_rows(in.v), packed_rows(out),
                   {.q = q_rows, .kv = kv_rows}, options);
}

/// The expected shapes follow the layout of the queries; lse is [batch, heads, tokens], packed
/// [tokens, heads].
void require_output_shapes(const Case& facts, const std::string& layout, const Index4& out) {
  const auto& [batch, heads, q_len, value_dim] = out;
  const bool packed = layout == "packed";
  Shape y{batch, q_len, heads, value_dim};
  if (layout == "BHSD") y = {batch, heads, q_len, value_dim};
  if (packed) y = {q_len, heads, value_dim};
  require_shape(facts.output("Y"), y);
  if (const CaseTensor* lse = facts.find_output("lse")) {
    require_shape(*lse, packed ? Shape{q_len, heads} : Shape{batch, heads, q_len});
  }
}

}  // namespace

Outcome run_attentionx(const Case& facts, const Attention& attention) {
  Outcome outcome{.needs = missing_options(facts), .comparisons = {}};
  if (!outcome.needs.empty()) return outcome;

  const std::string layout = facts.word("layout", "BHSD");
  const bool packed = layout == "packed";
  Inputs in = read_inputs(facts, layout);
  AttentionOptions options = options_of(facts, in);

  const Index4 out_shape{in.q.shape[0], in.q.shape[1], in.q.shape[2], in.v.shape[3]};
  require_output_shapes(facts, layout, out_shape);
  const DType type = in.q.dtype;
  Heads out =
      layout == "BHSD" ? unwritten(type, out_shape) : unwritten_tokens_first(type, out_shape);
  const CaseTensor* want_lse = facts.find_output("lse");
  Heads lse;
  if (want_lse != nullptr) {
    const Index4 lse_shape{out_shape[0], out_shape[1], out_shape[2], 1};
    lse = packed ? unwritten_tokens_first(DType::f32, lse_shape) : unwritten(DType::f32, lse_shape);
    const auto& strides = lse.view.strides;
    options.lse = {static_cast<float*>(lse.view.data),
                   {out_shape[0], out_shape[1], out_shape[2]},
                   {strides[0], strides[1], strides[2]}};
  }

  if (packed) {
    run_packed(facts, attention, in, out.view, options);
  } else {
    attention.padded(in.q, in.k, in.v, out.view, options);
  }

  outcome.comparisons.push_back(compare(facts.output("Y"), out.elements.floats(),
                                        facts.tolerance(std::string(dtype_name(type))),
                                        facts.find_output("Y_care")));
  if (want_lse != nullptr) {
    outcome.comparisons.push_back(
        compare(*want_lse, lse.elements.floats(), facts.tolerance("lse")));
  }
  return outcome;
}

}  // namespace rapt::conformance
