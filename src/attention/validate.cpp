#include "attention/validate.hpp"

#include "attention/base_2.hpp"
#include "attention/validate_outputs.hpp"
#include "core/counted.hpp"
#include "core/sizes.hpp"
#include "core/views.hpp"
#include "ops/rms_norm.hpp"
#include "ops/validate_rope.hpp"

#include <array>
#include <cmath>
#include <string>

namespace rapt {
namespace {

using core::check_disjoint;
using core::check_extent;
using core::counted;
using core::fail;
using core::memory_range;

/// Out of line: check_same() runs for each extent, and its error path should not be inlined.
[[noreturn]] void fail_to_match(const char* argument, const char* dimension, std::int64_t value,
                                const char* other, std::int64_t expected) {
  fail(std::string(argument) + ": " + dimension + " " + std::to_string(value) + " does not match " +
       other + "'s " + dimension + " " + std::to_string(expected));
}

/// "k: head_dim 32 does not match q's head_dim 64", unless they are equal.
void check_same(const char* argument, const char* dimension, std::int64_t value, const char* other,
                std::int64_t expected) {
  if (value != expected) fail_to_match(argument, dimension, value, other, expected);
}

void check_shapes(const TensorView<const void, 4>& q, const TensorView<const void, 4>& k,
                  const TensorView<const void, 4>& v, const TensorView<void, 4>& out) {
  const auto [batch, heads, q_len, head_dim] = q.shape;
  check_same("k", "batch", k.shape[0], "q", batch);
  check_same("k", "head_dim", k.shape[3], "q", head_dim);
  check_same("v", "batch", v.shape[0], "q", batch);
  check_same("v", "kv_heads", v.shape[1], "k", k.shape[1]);
  check_same("v", "kv_len", v.shape[2], "k", k.shape[2]);
  check_same("out", "batch", out.shape[0], "q", batch);
  check_same("out", "heads", out.shape[1], "q", heads);
  check_same("out", "q_len", out.shape[2], "q", q_len);
  check_same("out", "value_dim", out.shape[3], "v", v.shape[3]);
  if (head_dim < 1) fail("q: head_dim " + std::to_string(head_dim) + " is below 1");
  const std::int64_t kv_heads = k.shape[1];
  if (kv_heads == 0 ? heads != 0 : heads % kv_heads != 0) {
    fail("q: heads " + std::to_string(heads) + " is not a multiple of k's kv_heads " +
         std::to_string(kv_heads));
  }
}

/// Sizes that a plan multiplies (rows of a group, keys of all blocks, the workspace of an item)
/// must not overflow.
void check_countable(const TensorView<const void, 4>& q, std::int64_t kv_len,
                     std::int64_t value_dim) {
  const auto check = [](const char* name, std::int64_t value) {
    if (value > kMaxKeys) {
      fail(std::string(name) + " " + std::to_string(value) + " is above the limit of 2^40");
    }
  };
  check("q: batch", q.shape[0]);
  check("q: heads", q.shape[1]);
  check("q: q_len", q.shape[2]);
  check("q: head_dim", q.shape[3]);
  check("k: kv_len", kv_len);
  check("v: value_dim", value_dim);
  const std::array rows{q.shape[0], q.shape[1], q.shape[2]};
  const auto product = checked_product(rows);
  if (!product || *product > kMaxKeys) {
    fail("q: batch " + std::to_string(q.shape[0]) + " x heads " + std::to_string(q.shape[1]) +
         " x q_len " + std::to_string(q.shape[2]) + " is above the limit of 2^40 rows");
  }
}

/// Query offsets have an effect only with a causal mask, a window or ALiBi; otherwise they would be
/// ignored.
void check_offsets_are_used(const AttentionOptions& options) {
  const Mask& mask = options.mask;
  const bool used =
      mask.kind == Mask::Kind::causal || mask.window_left != kNoWindow ||
      mask.window_right != kNoWindow || !options.alibi_slopes.empty() ||
      (options.rope.table.cos.data != nullptr && options.rope.q_positions.data == nullptr);
  if (!mask.query_offsets.empty() && !used) {
    fail("mask: query_offsets mean nothing without a causal mask, a window, alibi_slopes or rope");
  }
}

bool is_finite_in_base_2(float x) { return std::isfinite(to_base_2(x)); }

/// A value per query head: finite, in base 2 too, or -inf where `minus_infinity` allows it.
void check_per_head(const char* name, std::span<const float> values, std::int64_t heads,
                    bool minus_infinity) {
  if (values.empty()) return;
  if (std::ssize(values) != heads) {
    fail(std::string(name) + ": values " + std::to_string(values.size()) +
         " does not match q's heads " + std::to_string(heads));
  }
  for (std::size_t h = 0; h < values.size(); ++h) {
    if (is_finite_in_base_2(values[h]) || (minus_infinity && values[h] == -INFINITY)) continue;
    fail(std::string(name) + ": " + std::to_string(values[h]) + " of head " + std::to_string(h) +
         (minus_infinity ? " is neither finite nor -inf" : " is not finite"));
  }
}

void check_soft_cap(const AttentionOptions& options) {
  if (!options.soft_cap) return;
  const float cap = *options.soft_cap;
  if (is_finite_in_base_2(cap) && cap > 0.0f) return;
  fail("soft_cap: " + std::to_string(cap) + " is not a number above 0 and below FLT_MAX / log2(e)");
}

using Shape = ScoresShape;
constexpr std::array<const char*, 4> kScoreDimensions = {"batch", "heads", "q_len", "kv_len"};

/// A mask or bias over [batch, heads, q_len, kv_len]; dimensions of extent 1 are broadcast.
template <class T>
void check_broadcast(const char* name, const TensorView<T, 4>& view, const Shape& scores) {
  core::check_strided_input(name, view);
  for (std::size_t i = 0; i < 4; ++i) {
    if (view.shape[i] == 1 || view.shape[i] == scores[i]) continue;
    fail(std::string(name) + ": " + kScoreDimensions[i] + " " + std::to_string(view.shape[i]) +
         " is neither 1 nor " + std::to_string(scores[i]));
  }
}

void check_bool_mask(const BoolMask& mask, const Shape& scores) {
  if (mask.values.data == nullptr) return;
  check_broadcast("bool_mask", mask.values, scores);
  if (mask.meaning == MaskMeaning::keep || mask.meaning == MaskMeaning::drop) return;
  fail("bool_mask: meaning " + std::to_string(static_cast<int>(mask.meaning)) +
       " is neither keep nor drop");
}

/// An optional output has the shape of the scores, in the dimensions that it has.
template <int Rank>
void check_score_output(const char* name, const TensorView<float, Rank>& view,
                        const Shape& scores) {
  for (std::size_t i = 0; i < Rank; ++i) {
    if (view.shape[i] == scores[i]) continue;
    fail(std::string(name) + ": " + kScoreDimensions[i] + " " + std::to_string(view.shape[i]) +
         " does not match " + std::to_string(scores[i]));
  }
}

/// The last dimension of lse, the tokens, need not be dense.
void check_lse(const TensorView<float, 3>& lse, const Shape& scores) {
  check_score_output("lse", lse, scores);
  const TensorView<float, 4> rows{lse.data,
                                  {lse.shape[0], lse.shape[1], lse.shape[2], 1},
                                  {lse.strides[0], lse.strides[1], lse.strides[2], 1}};
  core::check_output("lse", rows);
}

/// One output against other outputs and all inputs.
void check_apart(const NamedMemory& from, std::span<const NamedMemory> outputs,
                 std::span<const NamedMemory> inputs, const AttentionOptions& options) {
  const auto& [output, written] = from;
  for (const auto& [name, range] : outputs) check_disjoint(output, written, name, range);
  for (const auto& [name, range] : inputs) check_disjoint(output, written, name, range);
  check_disjoint(output, written, "bias", options.bias);
  check_disjoint(output, written, "bool_mask", options.bool_mask.values);
  check_disjoint(output, written, "kv_lens", options.kv_lens);
  check_disjoint(output, written, "mask.query_offsets", options.mask.query_offsets);
  check_disjoint(output, written, "mask.prefix_lens", options.mask.prefix_lens);
  check_disjoint(output, written, "alibi_slopes", options.alibi_slopes);
  check_disjoint(output, written, "sinks", options.sinks);
  check_disjoint(output, written, "weights_rows", options.weights_rows);
  check_disjoint(output, written, "state_in: m", options.state_in.m);
  check_disjoint(output, written, "state_in: l", options.state_in.l);
  check_disjoint(output, written, "state_in: o", options.state_in.o);
  check_rope_apart(output, written, options.rope);
  if (!options.qk_norm) return;
  check_disjoint(output, written, "qk_norm.q_weight", options.qk_norm->q_weight);
  check_disjoint(output, written, "qk_norm.k_weight", options.qk_norm->k_weight);
}

}  // namespace

TensorMemory validate_tensors(const TensorView<const void, 4>& q,
                              const TensorView<const void, 4>& k,
                              const TensorView<const void, 4>& v, const TensorView<void, 4>& out) {
  const TensorMemory memory{core::check_input("q", q), core::check_input("k", k),
                            core::check_input("v", v), core::check_output("out", out)};
  check_shapes(q, k, v, out);
  check_countable(q, v.shape[2], v.shape[3]);
  return memory;
}

TensorMemory validate_queries(const TensorView<const void, 4>& q, const TensorView<void, 4>& out,
                              const char* owner, std::int64_t kv_heads, std::int64_t head_dim,
                              std::int64_t value_dim) {
  const TensorMemory memory{
      .q = core::check_input("q", q), .k = {}, .v = {}, .out = core::check_output("out", out)};
  if (q.shape[3] != head_dim) {
    check_extent("q: head_dim", q.shape[3], (std::string(owner) + " head_dim").c_str(), head_dim);
  }
  check_same("out", "heads", out.shape[1], "q", q.shape[1]);
  check_same("out", "rows", out.shape[2], "q", q.shape[2]);
  if (out.shape[3] != value_dim) {
    check_extent("out: value_dim", out.shape[3], (std::string(owner) + " value_dim").c_str(),
                 value_dim);
  }
  if (kv_heads == 0 ? q.shape[1] != 0 : q.shape[1] % kv_heads != 0) {
    fail("q: heads " + std::to_string(q.shape[1]) + " is not a multiple of " + owner +
         " kv_heads " + std::to_string(kv_heads));
  }
  check_countable(q, 0, value_dim);
  return memory;
}

void validate_row_offsets(const char* name, std::span<const std::int64_t> offsets,
                          std::int64_t rows) {
  const std::string prefix = std::string(name) + ": ";
  if (offsets.empty()) fail(prefix + "no offsets; a batch of n sequences has n + 1");
  for (std::size_t s = 0; s < offsets.size(); ++s) {
    const std::int64_t least = s == 0 ? 0 : offsets[s - 1];
    if (offsets[s] >= least && offsets[s] <= rows) continue;
    fail(prefix + "offset " + std::to_string(offsets[s]) + " at " + std::to_string(s) +
         " is not within " + std::to_string(least) + " and the " + counted(rows, "row"));
  }
}

void validate_options(const AttentionOptions& options, const ScoresShape& scores,
                      std::int64_t sequences, const HeadSizes& heads) {
  validate_mask(options.mask, sequences);
  check_offsets_are_used(options);
  check_soft_cap(options);
  check_per_head("alibi_slopes", options.alibi_slopes, scores[1], false);
  check_per_head("sinks", options.sinks, scores[1], true);
  check_rope_options(options.rope);
  check_rope_table("rope", options.rope.table, heads.head_dim);
  if (options.qk_norm) check_qk_norm(*options.qk_norm, heads.head_dim);
  if (options.softmax_scale && !std::isfinite(*options.softmax_scale)) {
    fail("softmax_scale: " + std::to_string(*options.softmax_scale) + " is not finite");
  }
  check_bool_mask(options.bool_mask, scores);
  if (options.bias.data != nullptr) check_broadcast("bias", options.bias, scores);
  if (options.lse.data != nullptr) check_lse(options.lse, scores);
  validate_weights(options, scores);
  validate_states(options, scores, heads.value_dim);
  validate_weight_sums(options, scores, sequences, heads.kv_heads);
}

void validate_apart(const NamedMemory& out, std::span<const NamedMemory> inputs,
                    const AttentionOptions& options) {
  std::array<NamedMemory, 6> outputs;
  std::size_t count = 0;
  const auto add = [&](const char* name, const auto& view) {
    if (view.data != nullptr) outputs[count++] = {name, memory_range(view)};
  };
  add("lse", options.lse);
  add("weights", options.weights);
  add("weight_sums", options.weight_sums);
  add("state_out: m", options.state_out.m);
  add("state_out: l", options.state_out.l);
  add("state_out: o", options.state_out.o);
  const std::span others = std::span(outputs).first(count);
  check_apart(out, others, inputs, options);
  for (std::size_t i = 0; i < count; ++i) {
    check_apart(others[i], others.subspan(i + 1), inputs, options);
  }
}

}  // namespace rapt
