#include "attention/attend_call.hpp"

#include "attention/base_2.hpp"
#include "attention/output_rows.hpp"
#include "attention/pages.hpp"
#include "dispatch/element_type.hpp"
#include "ops/rms_norm.hpp"
#include "ops/rotation.hpp"

#include <cmath>
#include <cstddef>
#include <span>

namespace rapt {
namespace {

using kernels::AttendCall;
using kernels::AttendItem;

/// The stride of a dimension; 0 if its extent is 1 (the stride may then be anything, or the
/// dimension is broadcast), so that kernels may multiply by it.
template <class T>
std::int64_t step_of(const TensorView<T, 4>& view, std::size_t dim) {
  return view.shape[dim] > 1 ? view.strides[dim] : 0;
}

/// Floats from one token to the next; dense if there is only one.
std::int64_t token_stride(const TensorView<const void, 4>& view) {
  return view.shape[2] > 1 ? view.strides[2] : view.shape[3];
}

/// Rows of the call's scores; dimensions may be broadcast.
template <class T, class U>
kernels::ElementRows<T> element_rows(const TensorView<const U, 4>& view) {
  const void* const data = view.data;
  return {{static_cast<T*>(data), step_of(view, 0), step_of(view, 1), step_of(view, 2)},
          step_of(view, 3)};
}

kernels::Positions positions_of(const TensorView<const std::int64_t, 2>& given) {
  return {given.data, given.shape[0] == 1 ? 0 : given.strides[0], given.strides[1]};
}

/// Per-head values in the base-2 domain.
void scale_to_base_2(std::span<const float> values, std::vector<float>& scaled) {
  scaled.clear();
  for (const float x : values) scaled.push_back(to_base_2(x));
}

float score_scale(const AttentionOptions& options, std::int64_t head_dim) {
  const double scale = options.softmax_scale ? static_cast<double>(*options.softmax_scale)
                                             : 1.0 / std::sqrt(static_cast<double>(head_dim));
  return to_base_2(scale);
}

void set_tensors(const AttentionTensors& tensors, AttendCall& call) {
  const auto& [q, k, v, out, pages] = tensors;
  call.group = q.shape[1] / k.shape[1];
  call.head_dim = q.shape[3];
  call.value_dim = v.shape[3];
  call.q_type = element_type(q.dtype);
  call.k_type = element_type(k.dtype);
  call.v_type = element_type(v.dtype);
  call.out_type = element_type(out.dtype);
  call.q_token_stride = step_of(q, 2);
  call.q_head_stride = step_of(q, 1);
  call.out_token_stride = step_of(out, 2);
  call.out_head_stride = step_of(out, 1);
  call.storage = storage_of(pages);
  if (pages != nullptr) {
    call.page_keys = pages->keys;
    call.k_stride = pages->k_stride;
    call.v_stride = pages->v_stride;
    call.k_head_stride = pages->k_head_stride;
    call.v_head_stride = pages->v_head_stride;
    call.k_scales = pages->k_scales;
    call.v_scales = pages->v_scales;
  } else {
    call.k_stride = token_stride(k);
    call.v_stride = token_stride(v);
    call.k_head_stride = k.strides[1];
    call.v_head_stride = v.strides[1];
  }
}

/// Normalisation and rotation of rows of q and k before the scores.
void set_row_options(const AttentionOptions& options, AttendCall& call) {
  if (const auto& norm = options.qk_norm) {
    call.norm_q = row_norm(norm->q_weight, norm->epsilon);
    if (norm->normalize_keys) call.norm_k = row_norm(norm->k_weight, norm->epsilon);
  }
  const RopeOptions& rope = options.rope;
  if (rope.table.cos.data == nullptr) return;
  call.rotate_q = rotation_of(rope.table);
  call.q_positions = positions_of(rope.q_positions);
  if (rope.rotate_keys) {
    call.rotate_k = rotation_of(rope.table);
    call.k_positions = positions_of(rope.k_positions);
  }
}

void set_score_options(const AttentionOptions& options, const PreparedOptions& prepared,
                       const CallbackOfCall& callback, AttendCall& call) {
  if (options.soft_cap) call.soft_cap = to_base_2(*options.soft_cap);
  if (!options.alibi_slopes.empty()) call.alibi_slopes = prepared.alibi_slopes.data();
  if (!options.sinks.empty()) call.sinks = prepared.sinks.data();
  if (options.score_callback) {
    call.callback = &CallbackOfCall::on_tile;
    call.callback_context = &callback;
  }
  if (const auto& mask = options.bool_mask; mask.values.data != nullptr) {
    call.mask = element_rows<const unsigned char>(mask.values);
    call.mask_keep = mask.meaning == MaskMeaning::keep ? 1 : 0;
  }
  if (options.bias.data != nullptr) {
    call.bias = element_rows<const void>(options.bias);
    call.bias_type = element_type(options.bias.dtype);
  }
}

void set_outputs(const AttentionOptions& options, const PreparedOptions& prepared,
                 AttendCall& call) {
  call.lse = head_rows(options.lse);
  if (const auto& weights = options.weights; weights.data != nullptr) {
    call.weights = head_rows(weights);
    call.weights_keys = weights.shape[3];
    if (!options.weights_rows.empty()) call.weights_rows = prepared.weights_rows.data();
  }
  if (options.state_in) call.state_in = state_rows(options.state_in);
  if (options.state_out) call.state_out = state_rows(options.state_out);
}

/// The first element of a sequence's rows from `row` on, for one head.
template <class Void>
Void* rows_of(const TensorView<Void, 4>& view, std::int64_t batch, std::int64_t head,
              std::int64_t row) {
  return view.at(batch * view.strides[0] + head * view.strides[1] + row * view.strides[2]);
}

}  // namespace

void prepare_options(const AttentionOptions& options, std::int64_t q_rows,
                     PreparedOptions& prepared) {
  if (!options.alibi_slopes.empty()) scale_to_base_2(options.alibi_slopes, prepared.alibi_slopes);
  if (!options.sinks.empty()) scale_to_base_2(options.sinks, prepared.sinks);
  find_weights_rows(options.weights_rows, q_rows, prepared.weights_rows);
}

AttendCall attend_call(const kernels::Tuning& tuning, const AttentionTensors& tensors,
                       const AttentionOptions& options, const PreparedOptions& prepared,
                       const CallbackOfCall& callback, float* row_ends) {
  AttendCall call{};
  call.tuning = &tuning;
  set_tensors(tensors, call);
  call.scale = score_scale(options, call.head_dim);
  set_row_options(options, call);
  set_score_options(options, prepared, callback, call);
  set_outputs(options, prepared, call);
  call.row_ends = row_ends;
  call.row_end_heads = tensors.k.shape[1];
  call.row_end_rows = tensors.q.shape[2];
  call.state_stride = state_stride_of(call.value_dim);
  return call;
}

AttendItem attend_item(const AttendCall& call, const AttentionTensors& tensors,
                       const Sequences& sequences, std::int64_t sequence, std::int64_t kv_head) {
  const auto& [q, k, v, out, pages] = tensors;
  const kernels::SequencePlace& at = sequences.places[static_cast<std::size_t>(sequence)];
  AttendItem item{};
  item.call = &call;
  item.sequence = &at;
  item.visible = sequences.plan[static_cast<std::size_t>(sequence)].visible;
  item.first_head = kv_head * call.group;
  item.q = rows_of(q, at.batch, item.first_head, at.q_row);
  item.out = rows_of(out, at.batch, item.first_head, at.q_row);
  if (pages != nullptr) {
    item.k_offset = pages->k_begin + kv_head * pages->k_head_stride;
    item.v_offset = pages->v_begin + kv_head * pages->v_head_stride;
  } else {
    item.k = rows_of(k, at.batch, kv_head, at.kv_row);
    item.v = rows_of(v, at.batch, kv_head, at.kv_row);
  }
  item.heads = 1;
  return item;
}

}  // namespace rapt
