// attention(): validate, plan, run the work items in parallel, fold what was split over keys.
#include "rapt/attention.hpp"

#include <algorithm>
#include <cmath>
#include <new>
#include <string>
#include <vector>

#include "core/aligned_buffer.hpp"
#include "dispatch/dispatch.hpp"
#include "driver/attend_sequences.hpp"
#include "driver/base_2.hpp"
#include "driver/cascade.hpp"
#include "driver/output_rows.hpp"
#include "driver/parallel.hpp"
#include "driver/plan.hpp"
#include "driver/rms_norm.hpp"
#include "driver/rotation.hpp"
#include "driver/score_callback.hpp"
#include "driver/validate.hpp"
#include "driver/validate_rope.hpp"
#include "rapt/error.hpp"

namespace rapt {
namespace {

using kernels::AttendArgs;
using kernels::MaskStrides;

/// What a thread keeps from call to call, so that calls allocate nothing once the largest was seen.
struct CallWorkspace {
  Plan plan;
  std::vector<float> alibi_slopes, sinks;  // per head, times log2(e)
  std::vector<std::int64_t> weights_rows;  // of each query its row in weights, or -1
  AlignedBuffer states, row_ends;
};

/// Everything of a call that its work items share.
struct Call {
  const AttentionTensors& tensors;
  const AttentionOptions& options;
  const Sequences& sequences;
  const CallWorkspace& workspace;
  const CallbackOfCall& callback;
  std::int64_t group;
  float scale;
  float* states;
  float* row_ends;
};

float score_scale(const AttentionOptions& options, std::int64_t head_dim) {
  const double scale = options.softmax_scale ? static_cast<double>(*options.softmax_scale)
                                             : 1.0 / std::sqrt(static_cast<double>(head_dim));
  return to_base_2(scale);
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

/// The element of a sequence's query 0 and key 0.
template <class T>
const T* first_of(const TensorView<const T, 4>& view, const SequencePlace& at, std::int64_t head) {
  return view.data + at.batch * broadcast_stride(view, 0) + head * broadcast_stride(view, 1) +
         at.q_row * broadcast_stride(view, 2);
}

template <class T>
MaskStrides mask_strides(const TensorView<const T, 4>& view) {
  return {broadcast_stride(view, 2), broadcast_stride(view, 1), broadcast_stride(view, 3)};
}

/// What happens to rows of q and k before they are multiplied.
void set_row_options(const Call& call, const SequencePlace& at, AttendArgs& args) {
  if (const auto& norm = call.options.qk_norm) {
    args.norm_q = row_norm(norm->q_weight, norm->epsilon);
    if (norm->normalize_keys) args.norm_k = row_norm(norm->k_weight, norm->epsilon);
  }
  const RopeOptions& rope = call.options.rope;
  if (rope.table.cos.data == nullptr) return;
  args.rotate_q = rotation_of(rope.table, rope.q_positions, at.batch, at.q_row, at.query_offset);
  if (rope.rotate_keys) {
    args.rotate_k = rotation_of(rope.table, rope.k_positions, at.batch, at.kv_row, 0);
  }
}

void set_score_options(const Call& call, const SequencePlace& at, std::int64_t head,
                       AttendArgs& args) {
  const AttentionOptions& options = call.options;
  if (options.soft_cap) args.soft_cap = to_base_2(*options.soft_cap);
  if (!options.alibi_slopes.empty()) args.alibi_slopes = call.workspace.alibi_slopes.data() + head;
  if (!options.sinks.empty()) args.sinks = call.workspace.sinks.data() + head;
  args.query_offset = at.query_offset;
  if (options.score_callback) {
    args.callback = &CallbackOfCall::on_tile;
    args.callback_context = &call.callback;
    args.first_head = head;
  }
  if (const auto& mask = options.bool_mask; mask.values.data != nullptr) {
    args.mask = reinterpret_cast<const unsigned char*>(first_of(mask.values, at, head));
    args.mask_strides = mask_strides(mask.values);
    args.mask_keep = mask.meaning == MaskMeaning::keep ? 1 : 0;
  }
  if (const auto& bias = options.bias; bias.data != nullptr) {
    args.bias = first_of(bias, at, head);
    args.bias_strides = mask_strides(bias);
  }
}

void set_score_outputs(const Call& call, const SequencePlace& at, std::int64_t head,
                       AttendArgs& args) {
  const AttentionOptions& options = call.options;
  if (const auto& lse = options.lse; lse.data != nullptr) {
    args.lse =
        lse.data + at.batch * lse.strides[0] + head * lse.strides[1] + at.q_row * lse.strides[2];
    args.lse_token_stride = lse.strides[2];
    args.lse_head_stride = lse.strides[1];
  }
  if (const auto& weights = options.weights; weights.data != nullptr) {
    args.weights = weights.data + at.batch * weights.strides[0] + head * weights.strides[1];
    if (options.weights_rows.empty()) {
      args.weights += at.q_row * weights.strides[2];
    } else {
      args.weights_rows = call.workspace.weights_rows.data() + at.q_row;
    }
    args.weights_token_stride = weights.strides[2];
    args.weights_head_stride = weights.strides[1];
    args.weights_keys = weights.shape[3];
  }
  if (at.goes_on) args.state_in = state_rows(options.state_in, at, head);
  args.state_out = state_rows(options.state_out, at, head);
}

/// Where the rows of a kv head leave what the sums of their weights need.
void set_row_ends(const Call& call, const SequencePlace& at, std::int64_t kv_head,
                  AttendArgs& args) {
  if (call.row_ends == nullptr) return;
  const std::int64_t q_rows = call.tensors.q.shape[2];
  const std::int64_t row = (at.batch * call.tensors.k.shape[1] + kv_head) * q_rows + at.q_row;
  args.row_ends = call.row_ends + 2 * call.group * row;
}

void set_sums(const TensorView<float, 3>& sums, const Call& call, const WorkItem& item,
              AttendArgs& args) {
  const bool per_head = sums.shape[1] == call.tensors.q.shape[1];
  const std::int64_t first = per_head ? item.kv_head * call.group : item.kv_head;
  args.sums = sums.data + item.sequence * sums.strides[0] + first * sums.strides[1];
  args.sums_head_stride = per_head ? sums.strides[1] : 0;
  args.sums_key_stride = sums.strides[2];
  args.sums_keys = sums.shape[2];
}

/// The first float of a sequence's rows from `row` on, for one head.
template <class T>
T* rows_of(const TensorView<T, 4>& view, std::int64_t batch, std::int64_t head, std::int64_t row) {
  return view.data + batch * view.strides[0] + head * view.strides[1] + row * view.strides[2];
}

void set_pages(const PageLayout& layout, const SequencePlace& at, std::int64_t kv_head,
               AttendArgs& args) {
  args.pages = {.k = at.k_pages,
                .v = at.v_pages,
                .k_offset = layout.k_begin + kv_head * layout.k_head_stride,
                .v_offset = layout.v_begin + kv_head * layout.v_head_stride,
                .keys = layout.keys,
                .packed = layout.packed ? 1 : 0};
  args.k_stride = layout.k_stride;
  args.v_stride = layout.v_stride;
}

/// The arguments of a WorkItem or a KeySplit.
template <class Item>
AttendArgs attend_args(const Call& call, const Item& item) {
  const auto& [q, k, v, out, pages] = call.tensors;
  const PlanSequence& sequence = call.sequences.plan[static_cast<std::size_t>(item.sequence)];
  const SequencePlace& at = call.sequences.places[static_cast<std::size_t>(item.sequence)];
  const std::int64_t head = item.kv_head * call.group;
  AttendArgs args{};
  args.q = rows_of(q, at.batch, head, at.q_row);
  args.q_token_stride = q.strides[2];
  args.q_head_stride = q.strides[1];
  if (pages != nullptr) {
    set_pages(*pages, at, item.kv_head, args);
  } else {
    args.k = rows_of(k, at.batch, item.kv_head, at.kv_row);
    args.k_stride = k.strides[2];
    args.v = rows_of(v, at.batch, item.kv_head, at.kv_row);
    args.v_stride = v.strides[2];
  }
  args.sequence = item.sequence;
  args.row_begin = item.row_begin;
  args.rows = item.rows;
  args.group = call.group;
  args.block_begin = item.block_begin;
  args.block_end = item.block_end;
  args.head_dim = q.shape[3];
  args.value_dim = v.shape[3];
  args.scale = call.scale;
  args.kv_len = sequence.kv_len;
  args.visible_begin = sequence.visible_begin;
  args.visible_end = sequence.visible_end;
  args.visible_prefix = sequence.visible_prefix;
  args.out = rows_of(out, at.batch, head, at.q_row);
  args.out_token_stride = out.strides[2];
  args.out_head_stride = out.strides[1];
  set_row_options(call, at, args);
  set_score_options(call, at, head, args);
  set_score_outputs(call, at, head, args);
  set_row_ends(call, at, item.kv_head, args);
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
    if (call.callback.failed()) return;
    const WorkItem& item = plan.items[static_cast<std::size_t>(i)];
    AttendArgs args = attend_args(call, item);
    if (item.split >= 0) set_states(plan.splits[static_cast<std::size_t>(item.split)], args);
    args.scratch = scratch_for(kernels, args);
    // What a small call reads is in the cache, or read sooner than a prefetch would help.
    const bool prefetches = shared && static_cast<std::size_t>(i) + 1 < plan.items.size();
    if (!prefetches) return kernels.attend(args);
    const AttendArgs next = attend_args(call, plan.items[static_cast<std::size_t>(i) + 1]);
    args.next = &next;
    kernels.attend(args);
  };
  const auto fold = [&](std::int64_t i) {
    if (call.callback.failed()) return;
    const KeySplit& split = plan.splits[static_cast<std::size_t>(i)];
    AttendArgs args = attend_args(call, split);
    set_states(split, args);
    args.scratch = scratch_for(kernels, args);
    kernels.fold(args);
  };
  for_items(static_cast<std::int64_t>(plan.items.size()), shared, attend);
  for_items(static_cast<std::int64_t>(plan.splits.size()), shared, fold);
}

/// Sums of the weights, when all rows have ended: an item for each key block of each kv head.
void sum_weights(const kernels::KernelSet& kernels, const Call& call, bool shared) {
  const TensorView<float, 3>& sums = call.options.weight_sums;
  if (sums.data == nullptr) return;
  const std::int64_t blocks = (sums.shape[2] + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
  const std::int64_t kv_heads = call.tensors.k.shape[1];
  const auto sum = [&](std::int64_t i) {
    if (call.callback.failed()) return;
    const std::int64_t block = i % blocks, head = i / blocks % kv_heads;
    const std::int64_t sequence = i / (blocks * kv_heads);
    const std::int64_t q_len = call.sequences.plan[static_cast<std::size_t>(sequence)].q_len;
    const WorkItem item{.sequence = sequence,
                        .kv_head = head,
                        .row_begin = 0,
                        .rows = q_len * call.group,
                        .block_begin = block,
                        .block_end = block + 1,
                        .split = -1};
    AttendArgs args = attend_args(call, item);
    set_sums(sums, call, item, args);
    AttendArgs tile = args;  // the kernel holds one query tile at a time
    tile.rows = std::min<std::int64_t>(args.rows, kernels.tiles.query_rows);
    args.scratch = scratch_for(kernels, tile);
    kernels.sum_weights(args);
  };
  for_items(sums.shape[0] * kv_heads * blocks, shared, sum);
}

/// The call that no memory could be had for.
[[noreturn]] void fail_for_memory(const TensorView<const float, 4>& q) {
  throw Error(ErrorCode::out_of_memory,
              "workspace: no memory to plan batch " + std::to_string(q.shape[0]) + " x heads " +
                  std::to_string(q.shape[1]) + " x q_len " + std::to_string(q.shape[2]));
}

}  // namespace

void plan_and_run(const AttentionTensors& tensors, const AttentionOptions& options,
                  const Sequences& sequences, const CallbackOfCall& callback) {
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  thread_local CallWorkspace workspace;
  scale_to_base_2(options.alibi_slopes, workspace.alibi_slopes);
  scale_to_base_2(options.sinks, workspace.sinks);
  const PlanProblem problem{
      .kv_heads = tensors.k.shape[1],
      .group = tensors.q.shape[1] / tensors.k.shape[1],
      .head_dim = tensors.q.shape[3],
      .value_dim = tensors.v.shape[3],
      .can_split_keys = options.weights.data == nullptr,
      .sequences = sequences.plan,
  };
  make_plan(problem, kernels.tiles, available_threads(), workspace.plan);
  find_weights_rows(options.weights_rows, tensors.q.shape[2], workspace.weights_rows);
  float* row_ends = nullptr;
  if (options.weight_sums.data != nullptr) {
    const auto& shape = tensors.q.shape;
    row_ends = workspace.row_ends.reserve(2 * shape[0] * shape[1] * shape[2]);
  }
  const Call call{tensors,
                  options,
                  sequences,
                  workspace,
                  callback,
                  problem.group,
                  score_scale(options, problem.head_dim),
                  workspace.states.reserve(workspace.plan.state_floats),
                  row_ends};
  run(kernels, call, workspace.plan);
  sum_weights(kernels, call, workspace.plan.multiply_adds >= kInlineWork);
}

void attend_sequences(const AttentionTensors& tensors, const AttentionOptions& options,
                      const Sequences& sequences) {
  if (tensors.q.shape[1] == 0) return;
  const CallbackOfCall callback(options.score_callback);
  if (options.qk_norm) check_qk_norm(*options.qk_norm, tensors.q.shape[3]);
  if (tensors.pages != nullptr) check_keys_are_ready(options);
  validate_positions(tensors.q, tensors.k, options.rope, sequences);
  try {
    if (!attend_cascade(tensors, options, sequences, callback)) {
      plan_and_run(tensors, options, sequences, callback);
    }
  } catch (const std::bad_alloc&) {
    fail_for_memory(tensors.q);
  }
  callback.rethrow();
}

void attention(TensorView<const float, 4> q, TensorView<const float, 4> k,
               TensorView<const float, 4> v, TensorView<float, 4> out,
               const AttentionOptions& options) {
  refuse_inside_callback();
  validate_attention(q, k, v, out, options);
  if (q.shape[0] == 0 || q.shape[1] == 0) return;
  if (q.shape[2] == 0 && options.weight_sums.data == nullptr) return;
  thread_local Sequences sequences;
  sequences.clear();
  try {
    add_batch(options.mask, options.kv_lens, q, k.shape[2], sequences);
  } catch (const std::bad_alloc&) {
    fail_for_memory(q);
  }
  attend_sequences({q, k, v, out}, options, sequences);
}

}  // namespace rapt
