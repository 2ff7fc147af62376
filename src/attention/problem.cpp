#include "attention/problem.hpp"

#include "attention/output_rows.hpp"
#include "attention/run.hpp"
#include "attention/score_callback.hpp"
#include "attention/validate_positions.hpp"
#include "attention/visible_keys.hpp"
#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "core/per_thread.hpp"
#include "ops/validate_rope.hpp"
#include "rapt/error.hpp"

#include <new>
#include <string>

namespace rapt {
namespace {

/// No memory for planning the call.
[[noreturn]] void fail_for_memory(const TensorView<const void, 4>& q) {
  throw Error(ErrorCode::out_of_memory,
              "workspace: no memory to plan batch " + std::to_string(q.shape[0]) + " x heads " +
                  std::to_string(q.shape[1]) + " x q_len " + std::to_string(q.shape[2]));
}

/// A copy of the call with strides of 0 for tensors without elements, whose strides are arbitrary.
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

/// Whether every tensor has elements. Tensors that are not tested have extents of q, k and v.
/// Scores are tested too: they may have no keys though k has rows, if those belong to no sequence.
bool all_have_elements(const AttentionTensors& tensors, const AttentionOptions& options) {
  const auto has = [](const auto& view) {
    return view.data == nullptr || core::has_elements(view);
  };
  return core::has_elements(tensors.q) && core::has_elements(tensors.k) &&
         core::has_elements(tensors.v) && has(options.bool_mask.values) && has(options.bias) &&
         has(options.weights) && has(options.weight_sums);
}

/// A call with a boolean mask or a bias. Out of line: its copy of the options would slow a call of
/// a few tokens.
[[gnu::noinline]] void run_masked(const AttentionProblem& problem, const CallbackOfCall& callback,
                                  AttentionWorkspace& workspace) {
  const AttentionTensors& tensors = problem.tensors;
  const AttentionOptions& options = problem.options;
  if (!hide_padding(options, problem.sequences)) {
    return run(tensors, options, problem.sequences, callback, workspace);
  }
  AttentionOptions without_mask = options;
  without_mask.bool_mask = {};
  run(tensors, without_mask, problem.sequences, callback, workspace);
}

void run_valid(const AttentionProblem& problem, const CallbackOfCall& callback,
               AttentionWorkspace& workspace) {
  const AttentionTensors& tensors = problem.tensors;
  const AttentionOptions& options = problem.options;
  if (!has_results(problem)) return;
  if (all_have_elements(tensors, options)) {
    if (options.bool_mask.values.data != nullptr || options.bias.data != nullptr) {
      return run_masked(problem, callback, workspace);
    }
    return run(tensors, options, problem.sequences, callback, workspace);
  }
  const IdleStrides idle(tensors, options);
  run(idle.tensors, idle.options, problem.sequences, callback, workspace);
}

}  // namespace

void set_keys(const TensorView<const void, 4>& k, const TensorView<const void, 4>& v,
              AttentionProblem& problem) {
  AttentionTensors& tensors = problem.tensors;
  const TensorMemory memory = validate_tensors(tensors.q, k, v, tensors.out);
  tensors.k = k;
  tensors.v = v;
  problem.out = memory.out;
  problem.add_input("q", memory.q);
  problem.add_input("k", memory.k);
  problem.add_input("v", memory.v);
}

void set_pages(const PageLayout& pages, const char* owner, const HeadSizes& sizes,
               AttentionProblem& problem) {
  AttentionTensors& tensors = problem.tensors;
  const TensorMemory memory = validate_queries(tensors.q, tensors.out, owner, sizes.kv_heads,
                                               sizes.head_dim, sizes.value_dim);
  tensors.pages = &pages;
  tensors.k = {nullptr, pages.k_type, {1, sizes.kv_heads, problem.max_keys, sizes.head_dim}, {}};
  tensors.v = {nullptr, pages.v_type, {1, sizes.kv_heads, problem.max_keys, sizes.value_dim}, {}};
  problem.out = memory.out;
  problem.add_input("q", memory.q);
}

void validate(AttentionProblem& problem, const KeySource& source) {
  source.check(problem);
  const AttentionOptions& options = problem.options;
  const auto& [q, k, v, out, pages] = problem.tensors;
  validate_options(options, {q.shape[0], q.shape[1], q.shape[2], problem.max_keys}, problem.count,
                   {k.shape[1], k.shape[3], v.shape[3]});
  if (pages != nullptr) check_keys_are_ready(options);
  validate_apart(problem.out, std::span(problem.inputs).first(problem.input_count), options);
  place_queries(options.mask, problem.at_end, problem.sequences);
  source.find_keys(problem);
  validate_positions(q, k, options.rope, problem.sequences);
}

void attend(const TensorView<const void, 4>& q, const TensorView<void, 4>& out,
            const AttentionOptions& options, const KeySource& source) {
  const core::DefaultArithmetic mode;
  const CallbackOfCall callback(options.score_callback);
  core::or_out_of_memory([&] {
    refuse_inside_callback();
    constinit thread_local core::PerThread<AttentionWorkspace> kept;
    AttentionWorkspace& workspace = kept.get();
    workspace.sequences.clear();
    AttentionProblem problem{.tensors = {q, {}, {}, out},
                             .options = options,
                             .sequences = workspace.sequences,
                             .addresses = workspace.addresses};
    try {
      validate(problem, source);
      run_valid(problem, callback, workspace);
    } catch (const std::bad_alloc&) {
      fail_for_memory(q);
    }
  });
  // Memory that the call cannot get is an Error; what the caller's own callback threw, a
  // std::bad_alloc too, reaches the caller as it is.
  callback.rethrow();
}

}  // namespace rapt
