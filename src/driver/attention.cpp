// attention(): validate, plan, run the work items in parallel, fold what was split over keys.
#include "rapt/attention.hpp"

#include <algorithm>
#include <cmath>
#include <new>
#include <string>
#include <vector>

#include "core/aligned_buffer.hpp"
#include "dispatch/dispatch.hpp"
#include "driver/base_2.hpp"
#include "driver/parallel.hpp"
#include "driver/plan.hpp"
#include "driver/validate.hpp"
#include "rapt/error.hpp"

namespace rapt {
namespace {

using kernels::AttendArgs;
using kernels::kUnlimited;
using kernels::MaskStrides;

/// What a thread keeps from call to call, so that calls allocate nothing once the largest was seen.
struct CallWorkspace {
  Plan plan;
  std::vector<PlanSequence> sequences;
  std::vector<std::int64_t> offsets;       // of query 0, per sequence
  std::vector<float> alibi_slopes, sinks;  // per head, times log2(e)
  AlignedBuffer states;
};

/// Everything of a call that its work items share.
struct Call {
  const TensorView<const float, 4>& q;
  const TensorView<const float, 4>& k;
  const TensorView<const float, 4>& v;
  const TensorView<float, 4>& out;
  const AttentionOptions& options;
  const CallWorkspace& workspace;
  std::int64_t group;
  float scale;
  float* states;
};

float score_scale(const AttentionOptions& options, std::int64_t head_dim) {
  const double scale = options.softmax_scale ? static_cast<double>(*options.softmax_scale)
                                             : 1.0 / std::sqrt(static_cast<double>(head_dim));
  return to_base_2(scale);
}

/// Where query 0 of sequence b stands among its keys; further than half of kUnlimited is no
/// further.
std::int64_t query_offset(const Mask& mask, std::int64_t b, std::int64_t q_len,
                          std::int64_t kv_len) {
  if (mask.align == Mask::Align::bottom_right) return kv_len - q_len;
  const std::int64_t offset = mask.query_offsets.empty()
                                  ? mask.query_offset
                                  : mask.query_offsets[static_cast<std::size_t>(b)];
  return std::clamp(offset, -kUnlimited / 2, kUnlimited / 2);
}

/// a + b, where a sum beyond all sizes may as well be unlimited.
std::int64_t limited_sum(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) sum = a < 0 ? -kUnlimited : kUnlimited;
  return std::clamp(sum, -kUnlimited, kUnlimited);
}

/// The range mask of a sequence: query i sees keys [i + visible_begin, i + visible_end) of [0,
/// kv_len).
PlanSequence plan_sequence(const Mask& mask, std::int64_t offset, std::int64_t kv_len) {
  std::int64_t begin = -kUnlimited, end = kUnlimited;
  if (mask.window_left != kNoWindow) begin = limited_sum(offset, -mask.window_left);
  if (mask.window_right != kNoWindow) end = limited_sum(limited_sum(offset, mask.window_right), 1);
  if (mask.kind == Mask::Kind::causal) end = std::min(end, limited_sum(offset, 1));
  return {kv_len, begin, end};
}

void plan_sequences(const TensorView<const float, 4>& q, const TensorView<const float, 4>& k,
                    const AttentionOptions& options, CallWorkspace& workspace) {
  workspace.sequences.clear();
  workspace.offsets.clear();
  for (std::int64_t b = 0; b < q.shape[0]; ++b) {
    const std::int64_t kv_len =
        options.kv_lens.empty() ? k.shape[2] : options.kv_lens[static_cast<std::size_t>(b)];
    const std::int64_t offset = query_offset(options.mask, b, q.shape[2], kv_len);
    workspace.offsets.push_back(offset);
    workspace.sequences.push_back(plan_sequence(options.mask, offset, kv_len));
  }
}

/// Per-head values in the base-2 domain.
void scale_to_base_2(std::span<const float> values, std::vector<float>& scaled) {
  scaled.clear();
  for (const float x : values) scaled.push_back(to_base_2(x));
}

/// The stride of a dimension that is broadcast when its extent is 1.
template <class T>
std::int64_t broadcast_stride(const TensorView<T, 4>& view, std::size_t dim) {
  return view.shape[dim] == 1 ? 0 : view.strides[dim];
}

template <class T>
const T* first_of(const TensorView<const T, 4>& view, std::int64_t batch, std::int64_t head) {
  return view.data + batch * broadcast_stride(view, 0) + head * broadcast_stride(view, 1);
}

template <class T>
MaskStrides mask_strides(const TensorView<const T, 4>& view) {
  return {broadcast_stride(view, 2), broadcast_stride(view, 1), broadcast_stride(view, 3)};
}

void set_score_options(const Call& call, std::int64_t b, std::int64_t head, AttendArgs& args) {
  const AttentionOptions& options = call.options;
  if (options.soft_cap) args.soft_cap = to_base_2(*options.soft_cap);
  if (!options.alibi_slopes.empty()) args.alibi_slopes = call.workspace.alibi_slopes.data() + head;
  if (!options.sinks.empty()) args.sinks = call.workspace.sinks.data() + head;
  args.query_offset = call.workspace.offsets[static_cast<std::size_t>(b)];
  if (const auto& mask = options.bool_mask; mask.values.data != nullptr) {
    args.mask = reinterpret_cast<const unsigned char*>(first_of(mask.values, b, head));
    args.mask_strides = mask_strides(mask.values);
    args.mask_keep = mask.meaning == MaskMeaning::keep ? 1 : 0;
  }
  if (const auto& bias = options.bias; bias.data != nullptr) {
    args.bias = first_of(bias, b, head);
    args.bias_strides = mask_strides(bias);
  }
}

void set_score_outputs(const AttentionOptions& options, std::int64_t b, std::int64_t head,
                       AttendArgs& args) {
  if (const auto& lse = options.lse; lse.data != nullptr) {
    args.lse = lse.data + b * lse.strides[0] + head * lse.strides[1];
    args.lse_token_stride = lse.strides[2];
    args.lse_head_stride = lse.strides[1];
  }
  if (const auto& weights = options.weights; weights.data != nullptr) {
    args.weights = weights.data + b * weights.strides[0] + head * weights.strides[1];
    args.weights_token_stride = weights.strides[2];
    args.weights_head_stride = weights.strides[1];
    args.weights_keys = weights.shape[3];
  }
}

/// The arguments of a WorkItem or a KeySplit.
template <class Item>
AttendArgs attend_args(const Call& call, const Item& item) {
  const std::int64_t b = item.sequence;
  const std::int64_t head = item.kv_head * call.group;
  const PlanSequence& sequence = call.workspace.sequences[static_cast<std::size_t>(b)];
  AttendArgs args{};
  args.q = call.q.data + b * call.q.strides[0] + head * call.q.strides[1];
  args.q_token_stride = call.q.strides[2];
  args.q_head_stride = call.q.strides[1];
  args.k = call.k.data + b * call.k.strides[0] + item.kv_head * call.k.strides[1];
  args.k_stride = call.k.strides[2];
  args.v = call.v.data + b * call.v.strides[0] + item.kv_head * call.v.strides[1];
  args.v_stride = call.v.strides[2];
  args.row_begin = item.row_begin;
  args.rows = item.rows;
  args.group = call.group;
  args.block_begin = item.block_begin;
  args.block_end = item.block_end;
  args.head_dim = call.q.shape[3];
  args.value_dim = call.v.shape[3];
  args.scale = call.scale;
  args.kv_len = sequence.kv_len;
  args.visible_begin = sequence.visible_begin;
  args.visible_end = sequence.visible_end;
  args.out = call.out.data + b * call.out.strides[0] + head * call.out.strides[1];
  args.out_token_stride = call.out.strides[2];
  args.out_head_stride = call.out.strides[1];
  set_score_options(call, b, head, args);
  set_score_outputs(call.options, b, head, args);
  return args;
}

/// This thread's scratch memory, large enough for one item.
float* scratch_for(const kernels::KernelSet& kernels, const AttendArgs& args) {
  thread_local AlignedBuffer scratch;
  return scratch.reserve(kernels.attend_scratch(args));
}

void run(const kernels::KernelSet& kernels, const Call& call, const Plan& plan) {
  const bool shared = plan.multiply_adds >= kInlineWork;
  const auto set_states = [&](const KeySplit& split, AttendArgs& args) {
    args.states = call.states + split.state_offset;
    args.state_stride = plan.state_stride;
  };
  const auto attend = [&](std::int64_t i) {
    const WorkItem& item = plan.items[static_cast<std::size_t>(i)];
    AttendArgs args = attend_args(call, item);
    if (item.split >= 0) set_states(plan.splits[static_cast<std::size_t>(item.split)], args);
    args.scratch = scratch_for(kernels, args);
    AttendArgs next{};
    // What a small call reads is in the cache, or read sooner than a prefetch would help.
    if (shared && static_cast<std::size_t>(i) + 1 < plan.items.size()) {
      next = attend_args(call, plan.items[static_cast<std::size_t>(i) + 1]);
      args.next = &next;
    }
    kernels.attend(args);
  };
  const auto fold = [&](std::int64_t i) {
    const KeySplit& split = plan.splits[static_cast<std::size_t>(i)];
    AttendArgs args = attend_args(call, split);
    set_states(split, args);
    args.scratch = scratch_for(kernels, args);
    kernels.fold(args);
  };
  for_items(static_cast<std::int64_t>(plan.items.size()), shared, attend);
  for_items(static_cast<std::int64_t>(plan.splits.size()), shared, fold);
}

/// Plans the call and runs it.
void plan_and_run(const TensorView<const float, 4>& q, const TensorView<const float, 4>& k,
                  const TensorView<const float, 4>& v, const TensorView<float, 4>& out,
                  const AttentionOptions& options) {
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  thread_local CallWorkspace workspace;
  plan_sequences(q, k, options, workspace);
  scale_to_base_2(options.alibi_slopes, workspace.alibi_slopes);
  scale_to_base_2(options.sinks, workspace.sinks);
  const PlanProblem problem{
      .kv_heads = k.shape[1],
      .group = q.shape[1] / k.shape[1],
      .q_len = q.shape[2],
      .head_dim = q.shape[3],
      .value_dim = v.shape[3],
      .can_split_keys = options.weights.data == nullptr,
      .sequences = workspace.sequences,
  };
  make_plan(problem, kernels.tiles, available_threads(), workspace.plan);
  const Call call{q,
                  k,
                  v,
                  out,
                  options,
                  workspace,
                  problem.group,
                  score_scale(options, q.shape[3]),
                  workspace.states.reserve(workspace.plan.state_floats)};
  run(kernels, call, workspace.plan);
}

}  // namespace

void attention(TensorView<const float, 4> q, TensorView<const float, 4> k,
               TensorView<const float, 4> v, TensorView<float, 4> out,
               const AttentionOptions& options) {
  validate_attention(q, k, v, out, options);
  if (q.shape[0] == 0 || q.shape[1] == 0 || q.shape[2] == 0) return;
  try {
    plan_and_run(q, k, v, out, options);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory,
                "workspace: no memory to plan batch " + std::to_string(q.shape[0]) + " x heads " +
                    std::to_string(q.shape[1]) + " x q_len " + std::to_string(q.shape[2]));
  }
}

}  // namespace rapt
