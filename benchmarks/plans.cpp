// Planning: the cost of a call before its first item runs.
#include "attention/plan.hpp"
#include "benchmarks.hpp"
#include "dispatch/dispatch.hpp"
#include "dispatch/tuning.hpp"
#include "measure/workload.hpp"
#include "measure/workload_plan.hpp"

#include <string>
#include <vector>

namespace rapt::benchmarks {
namespace {

void make_plans(benchmark::State& state, const tools::WorkShape& shape, int threads) {
  const std::vector<PlanSequence> sequences = tools::plan_sequences(shape);
  const kernels::KernelSet& set = dispatch::active_kernels();
  const PlanProblem problem = tools::plan_problem(shape, set, sequences);
  const ItemSizes sizes = item_sizes(set, dispatch::call_tuning());
  Plan plan;
  for ([[maybe_unused]] auto _ : state) {
    make_plan(problem, sizes, threads, plan);
    benchmark::DoNotOptimize(plan.items.data());
  }
  state.counters["items"] = static_cast<double>(plan.items.size());
}

}  // namespace

void register_plans() {
  for (const char* preset : {"T1", "P1", "P3", "D1"}) {
    for (const int threads : {1, 2, 64, 192}) {
      const std::string name =
          std::string("plan/") + preset + "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
        make_plans(state, tools::completed(tools::preset_shape(preset)), threads);
      });
    }
  }
}

}  // namespace rapt::benchmarks
