// attention(): validate, plan, run the work items in parallel, fold what was split over keys.
#include "rapt/attention.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <new>
#include <string>
#include <vector>

#include "attention/attend_args.hpp"
#include "attention/attend_sequences.hpp"
#include "attention/base_2.hpp"
#include "attention/cascade.hpp"
#include "attention/output_rows.hpp"
#include "attention/plan.hpp"
#include "attention/score_callback.hpp"
#include "attention/validate.hpp"
#include "attention/validate_positions.hpp"
#include "core/aligned_buffer.hpp"
#include "core/per_thread.hpp"
#include "dispatch/dispatch.hpp"
#include "ops/rms_norm.hpp"
#include "ops/validate_rope.hpp"
#include "parallel/parallel.hpp"
#include "rapt/error.hpp"

namespace rapt {
namespace {

using kernels::AttendArgs;

/// What a thread keeps from call to call, so that calls allocate nothing once the largest was seen.
struct CallWorkspace {
  Plan plan;
  PreparedOptions options;
  AlignedBuffer states, row_ends;
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

/// This thread's scratch memory, large enough for one item of so many heads.
float* scratch_for(const kernels::KernelSet& kernels, const AttendArgs& args,
                   std::int64_t heads = 1) {
  constinit thread_local core::PerThread<AlignedBuffer> scratch;
  return scratch.get().reserve(kernels.attend_scratch(args, heads));
}

/// An item of several heads.
void attend_heads(const kernels::KernelSet& kernels, const Call& call, const WorkItem& item) {
  std::array<AttendArgs, kernels::kHeadsTogether> heads;
  WorkItem one = item;
  for (std::int64_t i = 0; i < item.kv_heads; ++i, ++one.kv_head) {
    heads[static_cast<std::size_t>(i)] = attend_args(call, one);
  }
  heads[0].scratch = scratch_for(kernels, heads[0], item.kv_heads);
  for (AttendArgs& head : heads) head.scratch = heads[0].scratch;
  kernels.attend(heads.data(), item.kv_heads);
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
    if (item.kv_heads > 1) return attend_heads(kernels, call, item);
    AttendArgs args = attend_args(call, item);
    if (item.split >= 0) set_states(plan.splits[static_cast<std::size_t>(item.split)], args);
    args.scratch = scratch_for(kernels, args);
    // What a small call reads is in the cache, or read sooner than a prefetch would help.
    const bool prefetches =
        shared && static_cast<std::size_t>(i) + 1 < plan.items.size() && args.rows > call.few_rows;
    if (!prefetches) return kernels.attend(&args, 1);
    const AttendArgs next = attend_args(call, plan.items[static_cast<std::size_t>(i) + 1]);
    args.next = &next;
    kernels.attend(&args, 1);
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

/// The sums of the keys of `item`, which no query sees.
void clear_sums(const AttendArgs& args, std::int64_t heads, const WorkItem& item) {
  const std::int64_t end = std::min(item.block_end * kernels::kKeyBlock, args.sums_keys);
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t key = item.block_begin * kernels::kKeyBlock; key < end; ++key) {
      args.sums[h * args.sums_head_stride + key * args.sums_key_stride] = 0.0f;
    }
  }
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
                        .kv_heads = 1,
                        .row_begin = 0,
                        .rows = q_len * call.group,
                        .block_begin = block,
                        .block_end = block + 1,
                        .split = -1};
    AttendArgs args = attend_args(call, item);
    set_sums(sums, call, item, args);
    if (item.rows == 0) {
      clear_sums(args, args.sums_head_stride == 0 ? 1 : call.group, item);
      return;
    }
    AttendArgs tile = args;  // the kernel holds one query tile at a time
    tile.rows = std::min<std::int64_t>(args.rows, kernels.tiles.query_rows);
    args.scratch = scratch_for(kernels, tile);
    kernels.sum_weights(args);
  };
  for_items(sums.shape[0] * kv_heads * blocks, shared, sum);
}

/// Whether the keys of all kv heads, and their values, lie side by side, and are taken as they lie.
bool heads_adjoin(const AttentionTensors& tensors, const AttentionOptions& options) {
  if (tensors.pages != nullptr) return tensors.pages->packed;
  const bool changes_keys = (options.qk_norm && options.qk_norm->normalize_keys) ||
                            (options.rope.table.cos.data != nullptr && options.rope.rotate_keys);
  // Heads meet whole blocks together.
  return !changes_keys && tensors.k.shape[2] >= kernels::kKeyBlock &&
         tensors.k.strides[1] == tensors.k.shape[3] && tensors.v.strides[1] == tensors.v.shape[3];
}

/// A call some of whose tensors have no elements.
struct IdleStrides {
  IdleStrides(const AttentionTensors& from, const AttentionOptions& options_)
      : tensors(from), options(options_) {
    const auto drop = [](auto& view) { view = core::without_idle_strides(view); };
    drop(tensors.q), drop(tensors.k), drop(tensors.v), drop(tensors.out);
    drop(options.bool_mask.values), drop(options.bias);
    drop(options.lse), drop(options.weights), drop(options.weight_sums);
    options.state_in = without_idle_strides(options.state_in);
    options.state_out = without_idle_strides(options.state_out);
    drop(options.rope.table.cos), drop(options.rope.table.sin);
    drop(options.rope.q_positions), drop(options.rope.k_positions);
  }

  AttentionTensors tensors;
  AttentionOptions options;
};

/// Whether every tensor has elements. The extents of those that are not asked here are those of q,
/// k and v; those of scores may have no keys where k has rows that belong to no sequence.
bool all_have_elements(const AttentionTensors& tensors, const AttentionOptions& options) {
  const auto has = [](const auto& view) {
    return view.data == nullptr || core::has_elements(view);
  };
  return core::has_elements(tensors.q) && core::has_elements(tensors.k) &&
         core::has_elements(tensors.v) && has(options.bool_mask.values) && has(options.bias) &&
         has(options.weights) && has(options.weight_sums);
}

/// The call that no memory could be had for.
[[noreturn]] void fail_for_memory(const TensorView<const float, 4>& q) {
  throw Error(ErrorCode::out_of_memory,
              "workspace: no memory to plan batch " + std::to_string(q.shape[0]) + " x heads " +
                  std::to_string(q.shape[1]) + " x q_len " + std::to_string(q.shape[2]));
}

/// attend_sequences() without strides that mean nothing.
void attend_checked(const AttentionTensors& tensors, const AttentionOptions& options,
                    const Sequences& sequences, const CallbackOfCall& callback) {
  const bool in_pages = tensors.pages != nullptr;
  if (in_pages) check_keys_are_ready(options);
  validate_positions(tensors.q, tensors.k, options.rope, sequences);
  if (!has_results(tensors, options)) return;
  try {
    if (!in_pages || !attend_cascade(tensors, options, sequences, callback)) {
      plan_and_run(tensors, options, sequences, callback);
    }
  } catch (const std::bad_alloc&) {
    fail_for_memory(tensors.q);
  }
}

}  // namespace

void plan_and_run(const AttentionTensors& tensors, const AttentionOptions& options,
                  const Sequences& sequences, const CallbackOfCall& callback) {
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  constinit thread_local core::PerThread<CallWorkspace> kept_workspace;
  CallWorkspace& workspace = kept_workspace.get();
  if (!options.alibi_slopes.empty()) {
    scale_to_base_2(options.alibi_slopes, workspace.options.alibi_slopes);
  }
  if (!options.sinks.empty()) scale_to_base_2(options.sinks, workspace.options.sinks);
  const std::int64_t head_dim = tensors.q.shape[3], value_dim = tensors.v.shape[3];
  const kernels::KeyStorage storage = storage_of(tensors.pages);
  const std::int64_t few_rows = kernels.few_rows(storage, head_dim, value_dim);
  const PlanProblem problem{
      .kv_heads = tensors.k.shape[1],
      .group = tensors.q.shape[1] / tensors.k.shape[1],
      .head_dim = head_dim,
      .value_dim = value_dim,
      .can_split_keys = options.weights.data == nullptr,
      .storage = storage,
      .heads_adjoin = heads_adjoin(tensors, options),
      .few_rows = few_rows,
      .sequences = sequences.plan,
  };
  make_plan(problem, kernels.tiles, available_threads(), workspace.plan);
  find_weights_rows(options.weights_rows, tensors.q.shape[2], workspace.options.weights_rows);
  float* row_ends = nullptr;
  if (options.weight_sums.data != nullptr) {
    const auto& shape = tensors.q.shape;
    row_ends = workspace.row_ends.reserve(2 * shape[0] * shape[1] * shape[2]);
  }
  const Call call{tensors,
                  options,
                  sequences,
                  workspace.options,
                  callback,
                  problem.group,
                  few_rows,
                  score_scale(options, head_dim),
                  workspace.states.reserve(workspace.plan.state_floats),
                  row_ends};
  run(kernels, call, workspace.plan);
  sum_weights(kernels, call, workspace.plan.multiply_adds >= kInlineWork);
}

void attend_sequences(const AttentionTensors& tensors, const AttentionOptions& options,
                      const Sequences& sequences, const CallbackOfCall& callback) {
  if (!all_have_elements(tensors, options)) {
    const IdleStrides idle(tensors, options);
    return attend_checked(idle.tensors, idle.options, sequences, callback);
  }
  attend_checked(tensors, options, sequences, callback);
}

namespace {

void attend_batch(TensorView<const float, 4> q, TensorView<const float, 4> k,
                  TensorView<const float, 4> v, TensorView<float, 4> out,
                  const AttentionOptions& options, const CallbackOfCall& callback) {
  refuse_inside_callback();
  validate_attention(q, k, v, out, options);
  const AttentionTensors tensors{q, k, v, out};
  if (!has_results(tensors, options)) return;
  constinit thread_local core::PerThread<Sequences> kept_sequences;
  Sequences& sequences = kept_sequences.get();
  sequences.clear();
  try {
    add_batch(options.mask, options.kv_lens, q, k.shape[2], sequences);
  } catch (const std::bad_alloc&) {
    fail_for_memory(q);
  }
  attend_sequences(tensors, options, sequences, callback);
}

}  // namespace

void attention(TensorView<const float, 4> q, TensorView<const float, 4> k,
               TensorView<const float, 4> v, TensorView<float, 4> out,
               const AttentionOptions& options) {
  with_callback(options, [&](const CallbackOfCall& callback) {
    attend_batch(q, k, v, out, options, callback);
  });
}

}  // namespace rapt
