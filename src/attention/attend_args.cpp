#include "attention/attend_args.hpp"

#include <cstddef>

#include "attention/base_2.hpp"
#include "attention/output_rows.hpp"
#include "attention/pages.hpp"
#include "ops/rms_norm.hpp"
#include "ops/rotation.hpp"

namespace rapt {
namespace {

using kernels::AttendArgs;
using kernels::MaskStrides;

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

/// Floats from one token to the next. That of a single token may be anything: dense then, so that
/// kernels may multiply it.
std::int64_t token_stride(const TensorView<const float, 4>& view) {
  return view.shape[2] > 1 ? view.strides[2] : view.shape[3];
}

/// Floats from one index of a dimension to the next. Where there is only one it may be anything: 0
/// then, so that kernels may multiply it.
template <class T>
std::int64_t step_of(const TensorView<T, 4>& view, std::size_t dim) {
  return view.shape[dim] > 1 ? view.strides[dim] : 0;
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
  if (!options.alibi_slopes.empty()) args.alibi_slopes = call.prepared.alibi_slopes.data() + head;
  if (!options.sinks.empty()) args.sinks = call.prepared.sinks.data() + head;
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
      args.weights_rows = call.prepared.weights_rows.data() + at.q_row;
    }
    args.weights_token_stride = weights.strides[2];
    args.weights_head_stride = weights.strides[1];
    args.weights_keys = weights.shape[3];
  }
  if (options.state_in && at.goes_on) {
    args.state_in = state_rows(options.state_in, at, head, at.state_shift);
  }
  if (options.state_out) args.state_out = state_rows(options.state_out, at, head);
}

/// Where the rows of a kv head leave what the sums of their weights need.
void set_row_ends(const Call& call, const SequencePlace& at, std::int64_t kv_head,
                  AttendArgs& args) {
  if (call.row_ends == nullptr) return;
  const std::int64_t q_rows = call.tensors.q.shape[2];
  const std::int64_t row = (at.batch * call.tensors.k.shape[1] + kv_head) * q_rows + at.q_row;
  args.row_ends = call.row_ends + 2 * call.group * row;
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

}  // namespace

template <class Item>
AttendArgs attend_args(const Call& call, const Item& item) {
  const auto& [q, k, v, out, pages] = call.tensors;
  const PlanSequence& sequence = call.sequences.plan[static_cast<std::size_t>(item.sequence)];
  const SequencePlace& at = call.sequences.places[static_cast<std::size_t>(item.sequence)];
  const std::int64_t head = item.kv_head * call.group;
  AttendArgs args{};
  args.q = rows_of(q, at.batch, head, at.q_row);
  args.q_token_stride = step_of(q, 2);
  args.q_head_stride = step_of(q, 1);
  if (pages != nullptr) {
    set_pages(*pages, at, item.kv_head, args);
  } else {
    args.k = rows_of(k, at.batch, item.kv_head, at.kv_row);
    args.k_stride = token_stride(k);
    args.v = rows_of(v, at.batch, item.kv_head, at.kv_row);
    args.v_stride = token_stride(v);
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
  args.visible_limit = sequence.visible_limit;
  args.out = rows_of(out, at.batch, head, at.q_row);
  args.out_token_stride = step_of(out, 2);
  args.out_head_stride = step_of(out, 1);
  set_row_options(call, at, args);
  set_score_options(call, at, head, args);
  set_score_outputs(call, at, head, args);
  set_row_ends(call, at, item.kv_head, args);
  return args;
}

template AttendArgs attend_args(const Call& call, const WorkItem& item);
template AttendArgs attend_args(const Call& call, const KeySplit& split);

void set_sums(const TensorView<float, 3>& sums, const Call& call, const WorkItem& item,
              AttendArgs& args) {
  const bool per_head = sums.shape[1] == call.tensors.q.shape[1];
  const std::int64_t first = per_head ? item.kv_head * call.group : item.kv_head;
  args.sums = sums.data + item.sequence * sums.strides[0] + first * sums.strides[1];
  args.sums_head_stride = per_head ? sums.strides[1] : 0;
  args.sums_key_stride = sums.strides[2];
  args.sums_keys = sums.shape[2];
}

}  // namespace rapt
