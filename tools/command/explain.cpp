// From the plan of the call and the measured limits to seconds.
#include "command/explain.hpp"

#include "dispatch/dispatch.hpp"
#include "dispatch/tuning.hpp"
#include "linear/linear_plan.hpp"
#include "measure/work_cost.hpp"
#include "measure/workload_plan.hpp"
#include "text/lists.hpp"
#include "text/units.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace rapt::tools {
namespace {

constexpr int kThreadCounts[] = {1, 2, 64, 192};

/// The phases of a call with a number of threads, and statistics of its attention plan.
struct PlannedWork {
  std::vector<Phase> phases;
  std::int64_t max_rows = 0;  ///< of an attention item
  std::int64_t splits = 0;
};

void add_attention(const WorkShape& shape, const kernels::KernelSet& set, int threads,
                   PlannedWork& work) {
  const std::vector<PlanSequence> sequences = plan_sequences(shape);
  const PlanProblem problem = plan_problem(shape, set, sequences);
  Plan plan;
  make_plan(problem, item_sizes(set, dispatch::call_tuning()), threads, plan);
  for (Phase& phase : attention_phases(problem, plan)) {
    work.phases.push_back(std::move(phase));
  }
  for (const WorkItem& item : plan.items) work.max_rows = std::max(work.max_rows, item.rows);
  work.splits = static_cast<std::int64_t>(plan.splits.size());
}

PlannedWork planned(const WorkShape& shape, const kernels::KernelSet& set, int threads) {
  PlannedWork work;
  const auto add_linear = [&](const char* name, std::int64_t rows, std::int64_t in,
                              std::int64_t out) {
    work.phases.push_back(linear_phase(name, rows, in, out, threads));
  };
  if (shape.kind == WorkKind::linear) {
    add_linear("linear", shape.rows, shape.in_features, shape.out_features);
  } else if (shape.kind == WorkKind::mha) {
    const std::int64_t rows = shape.batch * shape.q_len;
    const std::int64_t kv_dim = shape.kv_heads * shape.head_dim;
    add_linear("query", rows, shape.model_dim, shape.model_dim);
    add_linear("key", rows, shape.model_dim, kv_dim);
    add_linear("value", rows, shape.model_dim, kv_dim);
    add_attention(shape, set, threads, work);
    add_linear("output", rows, shape.model_dim, shape.model_dim);
  } else {
    add_attention(shape, set, threads, work);
  }
  return work;
}

std::string kernel_sentence(const WorkShape& shape, const kernels::KernelSet& set) {
  std::string text = fmt::format("{}, register tile {} rows x {} columns", set.name, set.tiles.rows,
                                 set.tiles.columns);
  if (shape.kind != WorkKind::linear) {
    text += fmt::format(", query tiles of {} rows, key blocks of {}", set.tuning.query_rows,
                        kernels::kKeyBlock);
  }
  if (shape.kind == WorkKind::linear || shape.kind == WorkKind::mha) {
    text += fmt::format(", products of {} rows by {} of depth",
                        dispatch::call_tuning().linear_item_rows, kernels::kDepthBlock);
  }
  return text;
}

std::string choice_sentence(Isa isa) {
  const std::vector<Isa> isas = available_isas();
  if (isa == isas.front()) return "the best instruction set of this processor";
  return fmt::format("requested; the best of this processor is {}", isa_name(isas.front()));
}

std::string sharing_sentence(const PlannedWork& work, int threads) {
  const bool any_shared = std::any_of(work.phases.begin(), work.phases.end(),
                                      [](const Phase& phase) { return phase.shared; });
  if (!any_shared) {
    return fmt::format("inline: fewer than {} multiply-adds do not repay waking a thread",
                       dispatch::call_tuning().inline_work);
  }
  std::string text = threads == 1 ? "one thread: items as large as the caches allow"
                                  : "several items per thread, for balance";
  if (work.max_rows > 0) text += fmt::format("; at most {} rows per item", work.max_rows);
  if (work.splits > 0) {
    text += fmt::format("; rows alone do not keep {} threads busy, so keys are split", threads);
  }
  return text;
}

double efficiency(const WorkShape& shape, const kernels::KernelSet& set, int threads) {
  const double alone = makespan(planned(shape, set, 1).phases, 1);
  return alone / (threads * makespan(planned(shape, set, threads).phases, threads));
}

}  // namespace

Explanation explain(const WorkResult& result, int threads) {
  const kernels::KernelSet& set = dispatch::kernels_of(result.isa);
  const PlannedWork work = planned(result.shape, set, threads);
  Explanation e;
  e.kernel = kernel_sentence(result.shape, set);
  e.choice = choice_sentence(result.isa);
  e.sharing = sharing_sentence(work, threads);
  e.splits = work.splits;
  Cost cost;
  double largest = 0;
  for (const Phase& phase : work.phases) {
    e.items += static_cast<std::int64_t>(phase.items.size());
    const Cost sum = phase.sum();
    cost += sum;
    if (sum.total() <= largest) continue;
    largest = sum.total();
    e.largest_to_mean = phase.largest_to_mean();
  }
  const double second = 2.0 / result.peak;  // per multiply-add, with all threads running
  e.products = cost.products * second;
  e.softmax = cost.softmax * second;
  e.packing = cost.packing * second;
  e.folding = cost.folding * second;
  e.compute = makespan(work.phases, threads) * second * threads;
  const bool in_cache =
      !result.cold && result.bytes <= static_cast<double>(last_level_cache(describe_machine()));
  e.memory = in_cache ? 0.0 : result.bytes / result.read;
  e.intensity = result.flops / result.bytes;
  e.predicted = std::max(e.compute, e.memory);
  e.measured = result.median;
  for (const int count : kThreadCounts) {
    e.efficiency.emplace_back(count, efficiency(result.shape, set, count));
  }
  return e;
}

std::string to_text(const Explanation& e, const WorkResult& result) {
  std::string text = fmt::format("  kernel     {}\n", e.kernel);
  text += fmt::format("  why        {}\n", e.choice);
  text += fmt::format("  items      {}, the largest {:.2f} x the mean; {} split over keys\n",
                      e.items, e.largest_to_mean, e.splits);
  text += fmt::format("  sharing    {}\n", e.sharing);
  text += fmt::format("  work       {:.4g} GFLOP, {}, {:.3g} FLOP a byte\n", result.flops * 1e-9,
                      format_bytes(static_cast<std::int64_t>(result.bytes)), e.intensity);
  text +=
      fmt::format("  computing  {}: products {}, softmax {}, packing {}, folding {}\n",
                  format_seconds(e.compute), format_seconds(e.products), format_seconds(e.softmax),
                  format_seconds(e.packing), format_seconds(e.folding));
  text += e.memory == 0.0 ? "  memory     nothing: the caches hold all of it\n"
                          : fmt::format("  memory     {} at {:.1f} GB/s\n",
                                        format_seconds(e.memory), result.read * 1e-9);
  text +=
      fmt::format("  limit      {}, by {}: {:.0f} % of the FMA peak, {:.0f} % of reading\n",
                  format_seconds(e.predicted), e.compute >= e.memory ? "computing" : "memory",
                  100.0 * result.flops / e.predicted / result.peak, 100.0 * e.memory / e.predicted);
  text += fmt::format("  measured   {}: {:.0f} % of the limit\n", format_seconds(e.measured),
                      100.0 * e.predicted / e.measured);
  std::vector<std::string> shares;
  for (const auto& [threads, share] : e.efficiency) {
    shares.push_back(fmt::format("{}: {:.0f} %", threads, 100.0 * share));
  }
  return text + fmt::format("  threads    efficiency on paper, {}\n", joined(shares));
}

Json to_json(const Explanation& e) {
  Json json = {{"kernel", e.kernel},
               {"choice", e.choice},
               {"sharing", e.sharing},
               {"items", e.items},
               {"splits", e.splits},
               {"largest_to_mean", e.largest_to_mean},
               {"flops_per_byte", e.intensity},
               {"products_ms", e.products * 1e3},
               {"softmax_ms", e.softmax * 1e3},
               {"packing_ms", e.packing * 1e3},
               {"folding_ms", e.folding * 1e3},
               {"compute_ms", e.compute * 1e3},
               {"memory_ms", e.memory * 1e3},
               {"predicted_ms", e.predicted * 1e3},
               {"share_of_limit", e.predicted / e.measured},
               {"efficiency", Json::list()}};
  for (const auto& [threads, share] : e.efficiency) {
    json["efficiency"].push_back({{"threads", threads}, {"efficiency", share}});
  }
  return json;
}

}  // namespace rapt::tools
