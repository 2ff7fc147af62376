// attention(): validate, plan, run the work items in parallel, fold what was split over keys.
#include "rapt/attention.hpp"

#include <algorithm>
#include <new>
#include <string>
#include <vector>

#include "attention/attend_call.hpp"
#include "attention/attend_sequences.hpp"
#include "attention/cascade.hpp"
#include "attention/output_rows.hpp"
#include "attention/plan.hpp"
#include "attention/score_callback.hpp"
#include "attention/validate.hpp"
#include "attention/validate_positions.hpp"
#include "core/aligned_buffer.hpp"
#include "core/per_thread.hpp"
#include "dispatch/dispatch.hpp"
#include "ops/validate_rope.hpp"
#include "parallel/parallel.hpp"
#include "rapt/error.hpp"

namespace rapt {
namespace {

using kernels::AttendCall;
using kernels::AttendItem;

/// What a thread keeps from call to call, so that calls allocate nothing once the largest was seen.
struct CallWorkspace {
  Plan plan;
  PreparedOptions options;
  AlignedBuffer states, row_ends;
};

/// This thread's scratch memory.
float* scratch_of(std::int64_t floats) {
  constinit thread_local core::PerThread<AlignedBuffer> scratch;
  return scratch.get().reserve(floats);
}

/// A call whose work is shared out.
struct PlannedCall {
  const kernels::KernelSet& kernels;
  const AttentionTensors& tensors;
  const Sequences& sequences;
  const AttendCall& attend;
  const Plan& plan;
  const CallbackOfCall& callback;
  float* states;

  bool shared() const { return plan.multiply_adds >= kInlineWork; }
};

AttendItem item_of(const PlannedCall& call, const WorkItem& work) {
  AttendItem item =
      attend_item(call.attend, call.tensors, call.sequences, work.sequence, work.kv_head);
  item.row_begin = work.row_begin;
  item.rows = work.rows;
  item.block_begin = work.block_begin;
  item.block_end = work.block_end;
  item.route = work.route;
  item.heads = static_cast<std::int32_t>(work.kv_heads);
  if (work.split >= 0) {
    item.states = call.states + call.plan.splits[static_cast<std::size_t>(work.split)].state_offset;
  }
  return item;
}

void attend_items(const PlannedCall& call) {
  const Plan& plan = call.plan;
  const bool shared = call.shared();
  for_items(std::ssize(plan.items), shared, [&](std::int64_t i) {
    if (call.callback.failed()) return;
    AttendItem item = item_of(call, plan.items[static_cast<std::size_t>(i)]);
    float* const scratch = scratch_of(call.kernels.attend_scratch(item));
    // What a small call reads is in the cache, or read sooner than a prefetch would help.
    const bool prefetches =
        shared && i + 1 < std::ssize(plan.items) && item.route == kernels::Route::tile;
    if (!prefetches) return call.kernels.attend(item, scratch);
    const AttendItem next = item_of(call, plan.items[static_cast<std::size_t>(i) + 1]);
    item.next = &next;
    call.kernels.attend(item, scratch);
  });
}

void fold_splits(const PlannedCall& call) {
  for_items(std::ssize(call.plan.splits), call.shared(), [&](std::int64_t i) {
    if (call.callback.failed()) return;
    const KeySplit& split = call.plan.splits[static_cast<std::size_t>(i)];
    kernels::FoldArgs args{
        attend_item(call.attend, call.tensors, call.sequences, split.sequence, split.kv_head),
        call.states + split.state_offset};
    args.item.row_begin = split.row_begin;
    args.item.rows = split.rows;
    args.item.block_begin = split.block_begin;
    args.item.block_end = split.block_end;
    call.kernels.fold(args, scratch_of(call.kernels.attend_scratch(args.item)));
  });
}

/// The sums of the keys of a block that no query sees.
void clear_sums(const kernels::WeightSumsArgs& args, std::int64_t heads) {
  const std::int64_t begin = args.item.block_begin * kernels::kKeyBlock;
  const std::int64_t end = std::min(begin + kernels::kKeyBlock, args.keys);
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t key = begin; key < end; ++key) {
      args.sums[h * args.head_stride + key * args.key_stride] = 0.0f;
    }
  }
}

/// Sums of the weights, when all rows have ended: an item for each key block of each kv head.
void sum_weights(const PlannedCall& call, const TensorView<float, 3>& sums) {
  if (sums.data == nullptr) return;
  const std::int64_t blocks = (sums.shape[2] + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
  const std::int64_t kv_heads = call.tensors.k.shape[1], group = call.attend.group;
  const bool per_head = sums.shape[1] == call.tensors.q.shape[1];
  for_items(sums.shape[0] * kv_heads * blocks, call.shared(), [&](std::int64_t i) {
    if (call.callback.failed()) return;
    const std::int64_t block = i % blocks, head = i / blocks % kv_heads;
    const std::int64_t sequence = i / (blocks * kv_heads);
    const std::int64_t first = per_head ? head * group : head;
    kernels::WeightSumsArgs args{
        .item = attend_item(call.attend, call.tensors, call.sequences, sequence, head),
        .sums = sums.data + sequence * sums.strides[0] + first * sums.strides[1],
        .head_stride = per_head ? sums.strides[1] : 0,
        .key_stride = sums.strides[2],
        .keys = sums.shape[2]};
    args.item.rows = call.sequences.plan[static_cast<std::size_t>(sequence)].q_len * group;
    args.item.block_begin = block;
    args.item.block_end = block + 1;
    if (args.item.rows == 0) return clear_sums(args, args.head_stride == 0 ? 1 : group);
    call.kernels.sum_weights(args, scratch_of(call.kernels.sum_weights_scratch(args)));
  });
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
  const auto& shape = tensors.q.shape;
  prepare_options(options, shape[2], workspace.options);
  float* row_ends = nullptr;
  if (options.weight_sums.data != nullptr) {
    row_ends = workspace.row_ends.reserve(2 * shape[0] * shape[1] * shape[2]);
  }
  const AttendCall attend = attend_call(tensors, options, workspace.options, callback, row_ends);
  const PlanProblem problem{
      .kv_heads = tensors.k.shape[1],
      .group = attend.group,
      .head_dim = attend.head_dim,
      .value_dim = attend.value_dim,
      .can_split_keys = options.weights.data == nullptr,
      .storage = attend.storage,
      .heads_adjoin = heads_adjoin(tensors, options),
      .stream_rows = kernels.stream_rows(attend.storage, attend.head_dim, attend.value_dim),
      .sequences = sequences.plan,
  };
  make_plan(problem, kernels.tiles, available_threads(), workspace.plan);
  float* const states = workspace.states.reserve(workspace.plan.state_floats);
  const PlannedCall call{kernels, tensors, sequences, attend, workspace.plan, callback, states};
  attend_items(call);
  fold_splits(call);
  sum_weights(call, options.weight_sums);
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
