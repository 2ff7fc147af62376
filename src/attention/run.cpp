#include "attention/run.hpp"

#include "core/per_thread.hpp"
#include "dispatch/dispatch.hpp"
#include "dispatch/tuning.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>
#include <cstdint>

namespace rapt {
namespace {

using kernels::AttendCall;
using kernels::AttendItem;

/// This thread's scratch memory.
float* scratch_of(std::int64_t floats) {
  constinit thread_local core::PerThread<AlignedBuffer> scratch;
  return scratch.get().reserve(floats);
}

/// A planned call.
struct PlannedCall {
  const kernels::KernelSet& kernels;
  const AttentionTensors& tensors;
  const Sequences& sequences;
  const AttendCall& attend;
  const Plan& plan;
  const CallbackOfCall& callback;
  float* states;

  bool shared() const { return plan.shared; }
};

/// The rows and blocks of a WorkItem or a KeySplit.
template <class Work>
AttendItem rows_and_blocks(const PlannedCall& call, const Work& work) {
  AttendItem item =
      attend_item(call.attend, call.tensors, call.sequences, work.sequence, work.kv_head);
  item.row_begin = work.row_begin;
  item.rows = work.rows;
  item.block_begin = work.block_begin;
  item.block_end = work.block_end;
  return item;
}

AttendItem item_of(const PlannedCall& call, const WorkItem& work) {
  AttendItem item = rows_and_blocks(call, work);
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
  const auto attend = [&](std::int64_t i) {
    if (call.callback.failed()) return;
    AttendItem item = item_of(call, plan.items[static_cast<std::size_t>(i)]);
    float* const scratch = scratch_of(call.kernels.attend_scratch(item));
    // A small call's data is in the cache already, or is loaded before a prefetch would complete.
    const bool prefetches =
        shared && i + 1 < std::ssize(plan.items) && item.route == kernels::Route::tile;
    if (!prefetches) return call.kernels.attend(item, scratch);
    const AttendItem next = item_of(call, plan.items[static_cast<std::size_t>(i) + 1]);
    item.next = &next;
    call.kernels.attend(item, scratch);
  };
  for_items(std::ssize(plan.items), shared, attend, plan.grain);
}

void fold_splits(const PlannedCall& call) {
  for_items(std::ssize(call.plan.splits), call.shared(), [&](std::int64_t i) {
    if (call.callback.failed()) return;
    const KeySplit& split = call.plan.splits[static_cast<std::size_t>(i)];
    const kernels::FoldArgs args{rows_and_blocks(call, split), call.states + split.state_offset};
    call.kernels.fold(args, scratch_of(call.kernels.attend_scratch(args.item)));
  });
}

/// Zeroes the sums of a block's keys when no query sees them.
void clear_sums(const kernels::WeightSumsArgs& args, std::int64_t heads) {
  const std::int64_t begin = args.item.block_begin * kernels::kKeyBlock;
  const std::int64_t end = std::min(begin + kernels::kKeyBlock, args.keys);
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t key = begin; key < end; ++key) {
      args.sums[h * args.head_stride + key * args.key_stride] = 0.0f;
    }
  }
}

/// Sums the weights after all rows have ended: one item per key block and kv head.
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

/// Whether adjacent kv heads are adjacent in memory, keys and values, and are read in place: in
/// each row, or in each page the rows of one after those of the other.
bool heads_adjacent(const AttendCall& call, std::int64_t kv_len) {
  if (call.storage == kernels::KeyStorage::packed_pages) return true;
  const bool changes_keys = call.norm_k.on != 0 || call.rotate_k.cos != nullptr;
  // A multi-head item reads whole key blocks.
  if (changes_keys || kv_len < kernels::kKeyBlock) return false;
  if (call.k_head_stride == call.head_dim && call.v_head_stride == call.value_dim) return true;
  return call.storage == kernels::KeyStorage::pages_of_rows && call.k_stride == call.head_dim &&
         call.v_stride == call.value_dim && call.k_head_stride == call.page_keys * call.k_stride &&
         call.v_head_stride == call.page_keys * call.v_stride;
}

std::int64_t stream_rows_of(const kernels::KernelSet& kernels, const AttentionTensors& tensors) {
  const std::int64_t page_keys = tensors.pages != nullptr ? tensors.pages->keys : 0;
  return stream_rows(kernels, {.storage = storage_of(tensors.pages),
                               .page_keys = page_keys,
                               .head_dim = tensors.q.shape[3],
                               .value_dim = tensors.v.shape[3]});
}

void run_whole(const AttentionTensors& tensors, const AttentionOptions& options,
               const Sequences& sequences, const CallbackOfCall& callback,
               AttentionWorkspace& workspace) {
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  const auto& shape = tensors.q.shape;
  prepare_options(options, shape[2], workspace.options);
  float* row_ends = nullptr;
  if (options.weight_sums.data != nullptr) {
    row_ends = workspace.row_ends.reserve(2 * shape[0] * shape[1] * shape[2]);
  }
  const AttendCall attend =
      attend_call(kernels.tuning, tensors, options, workspace.options, callback, row_ends);
  const PlanProblem problem{
      .kv_heads = tensors.k.shape[1],
      .group = attend.group,
      .head_dim = attend.head_dim,
      .value_dim = attend.value_dim,
      .can_split_keys = options.weights.data == nullptr,
      .storage = attend.storage,
      .heads_adjacent = heads_adjacent(attend, tensors.k.shape[2]),
      .stream_rows = stream_rows_of(kernels, tensors),
      .sequences = sequences.plan,
  };
  make_plan(problem, item_sizes(kernels, dispatch::call_tuning()), available_threads(),
            workspace.plan);
  float* const states = workspace.states.reserve(workspace.plan.state_floats);
  const PlannedCall call{kernels, tensors, sequences, attend, workspace.plan, callback, states};
  attend_items(call);
  fold_splits(call);
  sum_weights(call, options.weight_sums);
}

}  // namespace

void run(const AttentionTensors& tensors, const AttentionOptions& options,
         const Sequences& sequences, const CallbackOfCall& callback,
         AttentionWorkspace& workspace) {
  Cascade& cascade = workspace.cascade;
  if (tensors.pages == nullptr ||
      !make_cascade(tensors, options, sequences,
                    stream_rows_of(dispatch::active_kernels(), tensors), cascade)) {
    return run_whole(tensors, options, sequences, callback, workspace);
  }
  const GroupQueries& queries = cascade.queries;
  const AttentionTensors prefix{queries.q, tensors.k, tensors.v, queries.out, tensors.pages};
  run_whole(prefix, prefix_options(options, cascade), cascade.prefixes, callback, workspace);
  AttentionOptions rest = options;
  rest.state_in = queries.state;
  run_whole(tensors, rest, cascade.suffixes, callback, workspace);
}

}  // namespace rapt
