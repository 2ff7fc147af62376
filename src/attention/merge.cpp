// merge(): two states, or two results, of the same rows over different keys.
#include "attention/output_rows.hpp"
#include "attention/validate_outputs.hpp"
#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "dispatch/dispatch.hpp"
#include "dispatch/tuning.hpp"
#include "parallel/parallel.hpp"
#include "rapt/attention_state.hpp"

#include <array>
#include <string>

namespace rapt {
namespace {

using core::memory_range;
using kernels::MergeArgs;

struct Part {
  const char* name;
  TensorView<const float, 4> view;
};

/// `written` is exactly the same part of an input (`same_part`), or disjoint from it.
void check_apart(const Part& written, const Part& read, bool same_part) {
  const auto& [a, b] = std::pair{written.view, read.view};
  if (same_part && a.data == b.data && a.shape == b.shape && a.strides == b.strides) return;
  core::check_disjoint(written.name, memory_range(a), read.name, memory_range(b));
}

/// Every part of `merged` against all inputs and the later parts of `merged`.
template <std::size_t N>
void check_all_apart(const std::array<Part, N>& merged, const std::array<Part, N>& x,
                     const std::array<Part, N>& y) {
  for (std::size_t i = 0; i < N; ++i) {
    for (std::size_t j = 0; j < N; ++j) {
      check_apart(merged[i], x[j], i == j);
      check_apart(merged[i], y[j], i == j);
      if (i < j) check_apart(merged[i], merged[j], false);
    }
  }
}

void merge_by(void (*kernel)(const MergeArgs&), const AttentionState<const float>& x_,
              const AttentionState<const float>& y_, const AttentionState<float>& merged_) {
  const auto x = without_idle_strides(x_), y = without_idle_strides(y_);
  const auto merged = without_idle_strides(merged_);
  const auto [batch, heads, q_len, value_dim] = merged.o.shape;
  if (batch == 0 || heads == 0 || q_len == 0) return;
  const core::DefaultArithmetic mode;
  const auto items = static_cast<double>(batch) * static_cast<double>(heads);
  const double work = items * static_cast<double>(q_len) * static_cast<double>(value_dim);
  const bool shared = dispatch::call_tuning().wakes_threads(work);
  for_items(batch * heads, shared, [&, heads = heads](std::int64_t item) {
    kernel({.x = state_rows(x),
            .y = state_rows(y),
            .merged = state_rows(merged),
            .batch = item / heads,
            .head = item % heads,
            .rows = merged.o.shape[2],
            .value_dim = merged.o.shape[3]});
  });
}

}  // namespace

void merge(const AttentionState<const float>& x, const AttentionState<const float>& y,
           const AttentionState<float>& merged) try {
  const auto& shape = merged.o.shape;
  const std::array rows{shape[0], shape[1], shape[2]};
  constexpr StateNames kX{"x", "x: m", "x: l", "x: o"};
  constexpr StateNames kY{"y", "y: m", "y: l", "y: o"};
  constexpr StateNames kMerged{"merged", "merged: m", "merged: l", "merged: o"};
  validate_state(kX, x, rows, shape[3]);
  validate_state(kY, y, rows, shape[3]);
  validate_state(kMerged, merged, rows, shape[3]);
  if (!x || !y || !merged) core::fail(std::string(!x ? "x" : !y ? "y" : "merged") + ": has no o");
  const auto parts = [](const StateNames& names, const AttentionState<const float>& state) {
    return std::array{Part{names.m, with_dense_dimension(state.m)},
                      Part{names.l, with_dense_dimension(state.l)}, Part{names.o, state.o}};
  };
  check_all_apart(parts(kMerged, merged), parts(kX, x), parts(kY, y));
  merge_by(dispatch::active_kernels().merge_states, x, y, merged);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void merge(const AttentionResult<const float>& x, const AttentionResult<const float>& y,
           const AttentionResult<float>& merged) try {
  const auto check = [&](const std::array<const char*, 2>& names,
                         const AttentionResult<const float>& result, bool written) {
    const std::array parts{Part{names[0], result.out},
                           Part{names[1], with_dense_dimension(result.lse)}};
    for (const Part& part : parts) {
      if (part.view.data == nullptr) core::fail(std::string(part.name) + ": is not given");
      constexpr std::array<const char*, 3> kDimensions = {"batch", "heads", "q_len"};
      for (std::size_t i = 0; i < 3; ++i) {
        if (part.view.shape[i] == merged.out.shape[i]) continue;
        core::fail(std::string(part.name) + ": " + kDimensions[i] + " " +
                   std::to_string(part.view.shape[i]) + " does not match merged's out " +
                   std::to_string(merged.out.shape[i]));
      }
      if (written) {
        core::check_output(part.name, part.view);
      } else {
        core::check_input(part.name, part.view);
      }
    }
    if (result.out.shape[3] != merged.out.shape[3]) {
      core::fail(std::string(names[0]) + ": value_dim " + std::to_string(result.out.shape[3]) +
                 " does not match merged's out " + std::to_string(merged.out.shape[3]));
    }
    return parts;
  };
  const auto written = check({"merged: out", "merged: lse"}, {merged.out, merged.lse}, true);
  const auto from_x = check({"x: out", "x: lse"}, x, false);
  check_all_apart(written, from_x, check({"y: out", "y: lse"}, y, false));
  merge_by(dispatch::active_kernels().merge_results, {x.lse, {}, x.out}, {y.lse, {}, y.out},
           {merged.lse, {}, merged.out});
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
