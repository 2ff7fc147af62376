#include "attention/validate_outputs.hpp"

#include "core/views.hpp"

#include <string>
#include <type_traits>

namespace rapt {
namespace {

using core::check_extent;
using core::fail;

constexpr StateNames kStateIn{"state_in", "state_in: m", "state_in: l", "state_in: o"};
constexpr StateNames kStateOut{"state_out", "state_out: m", "state_out: l", "state_out: o"};

void check_rows(const char* name, std::span<const std::int64_t> extents,
                const std::array<std::int64_t, 3>& rows) {
  constexpr std::array<const char*, 3> kDimensions = {"batch", "heads", "q_len"};
  for (std::size_t i = 0; i < 3; ++i) {
    if (extents[i] == rows[i]) continue;
    fail(std::string(name) + ": " + kDimensions[i] + " " + std::to_string(extents[i]) +
         " does not match " + std::to_string(rows[i]));
  }
}

/// Rows are ascending queries without duplicates.
void check_weights_rows(std::span<const std::int64_t> rows, std::int64_t q_len) {
  for (std::size_t n = 0; n < rows.size(); ++n) {
    if (rows[n] < 0 || rows[n] >= q_len) {
      fail("weights_rows: query " + std::to_string(rows[n]) + " is not within q_len " +
           std::to_string(q_len));
    }
    if (n > 0 && rows[n] <= rows[n - 1]) {
      fail("weights_rows: query " + std::to_string(rows[n]) + " does not come after " +
           std::to_string(rows[n - 1]));
    }
  }
}

}  // namespace

TensorView<const float, 4> with_dense_dimension(const TensorView<const float, 3>& view) {
  return {view.data,
          {view.shape[0], view.shape[1], view.shape[2], 1},
          {view.strides[0], view.strides[1], view.strides[2], 1}};
}

void validate_weights(const AttentionOptions& options, const ScoresShape& scores) {
  const auto& weights = options.weights;
  const std::span<const std::int64_t> rows = options.weights_rows;
  if (weights.data == nullptr) {
    if (!rows.empty()) fail("weights_rows: mean nothing without weights");
    return;
  }
  check_weights_rows(rows, scores[2]);
  const std::int64_t count = rows.empty() ? scores[2] : std::ssize(rows);
  check_rows("weights", weights.shape, {scores[0], scores[1], count});
  check_extent("weights: kv_len", weights.shape[3], "k's kv_len", scores[3]);
  core::check_output("weights", weights);
}

void validate_weight_sums(const AttentionOptions& options, const ScoresShape& scores,
                          std::int64_t sequences, std::int64_t kv_heads) {
  const TensorView<float, 3>& sums = options.weight_sums;
  if (sums.data == nullptr) return;
  check_extent("weight_sums: batch", sums.shape[0], "the sequences", sequences);
  if (sums.shape[1] != scores[1] && sums.shape[1] != kv_heads) {
    fail("weight_sums: heads " + std::to_string(sums.shape[1]) + " is neither q's heads " +
         std::to_string(scores[1]) + " nor k's kv_heads " + std::to_string(kv_heads));
  }
  check_extent("weight_sums: kv_len", sums.shape[2], "k's kv_len", scores[3]);
  core::check_output("weight_sums", with_dense_dimension(sums));
}

template <class T>
void validate_state(const StateNames& names, const AttentionState<T>& state,
                    const std::array<std::int64_t, 3>& rows, std::int64_t value_dim) {
  if (!state) {
    if (state.m.data != nullptr || state.l.data != nullptr) {
      fail(std::string(names.whole) + ": has no o");
    }
    return;
  }
  check_rows(names.m, state.m.shape, rows);
  check_rows(names.l, state.l.shape, rows);
  check_rows(names.o, state.o.shape, rows);
  if (state.o.shape[3] != value_dim) {
    fail(std::string(names.o) + ": value_dim " + std::to_string(state.o.shape[3]) +
         " does not match " + std::to_string(value_dim));
  }
  const auto check = [](const char* name, const TensorView<const float, 4>& view) {
    std::is_const_v<T> ? core::check_input(name, view) : core::check_output(name, view);
  };
  check(names.m, with_dense_dimension(state.m));
  check(names.l, with_dense_dimension(state.l));
  check(names.o, state.o);
}

template void validate_state(const StateNames& names, const AttentionState<const float>& state,
                             const std::array<std::int64_t, 3>& rows, std::int64_t value_dim);
template void validate_state(const StateNames& names, const AttentionState<float>& state,
                             const std::array<std::int64_t, 3>& rows, std::int64_t value_dim);

void validate_states(const AttentionOptions& options, const ScoresShape& scores,
                     std::int64_t value_dim) {
  const std::array rows{scores[0], scores[1], scores[2]};
  validate_state(kStateIn, options.state_in, rows, value_dim);
  validate_state(kStateOut, options.state_out, rows, value_dim);
}

}  // namespace rapt
