// Running a call of attention() whose arguments are checked and whose sequences are known.
#pragma once

#include "attention/pages.hpp"
#include "attention/score_callback.hpp"
#include "attention/sequences.hpp"
#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "rapt/attention.hpp"
#include "rapt/tensor.hpp"

namespace rapt {

struct AttentionTensors {
  TensorView<const float, 4> q, k, v;
  TensorView<float, 4> out;
  const PageLayout* pages = nullptr;  ///< k and v are in pages; of the views only the shapes count
};

/// [rows, heads, dim] as [1, heads, rows, dim]: packed rows are a batch of one.
template <class T>
TensorView<T, 4> as_batch(const TensorView<T, 3>& view) {
  return {view.data,
          {1, view.shape[1], view.shape[0], view.shape[2]},
          {0, view.strides[1], view.strides[0], view.strides[2]}};
}

/// Whether the call, whose arguments are checked, has an element to write.
inline bool has_results(const AttentionTensors& tensors, const AttentionOptions& options) {
  const auto& [batch, heads, rows, width] = tensors.q.shape;
  const bool has_rows = batch > 0 && heads > 0 && rows > 0;
  return has_rows ||
         (options.weight_sums.data != nullptr && core::has_elements(options.weight_sums));
}

/// Plans and runs the work of sequences, in which everything is checked. Throws
/// Error{out_of_memory} and std::bad_alloc; what the callback throws is kept in it.
void plan_and_run(const AttentionTensors& tensors, const AttentionOptions& options,
                  const Sequences& sequences, const CallbackOfCall& callback);

/// Checks what can be once the sequences are known, then runs the call: as a cascade where
/// sequences share pages (attention/cascade.hpp). Throws Error{out_of_memory}; what the callback
/// throws is kept in it.
void attend_sequences(const AttentionTensors& tensors, const AttentionOptions& options,
                      const Sequences& sequences, const CallbackOfCall& callback);

/// A whole call, attend(callback). Memory that it cannot get is an Error; what the caller's own
/// callback threw, a std::bad_alloc too, reaches the caller as it is.
template <class Attend>
void with_callback(const AttentionOptions& options, const Attend& attend) {
  const core::DefaultArithmetic mode;
  const CallbackOfCall callback(options.score_callback);
  core::or_out_of_memory([&] { attend(callback); });
  callback.rethrow();
}

}  // namespace rapt
