// The presets of `rapt bench`, one benchmark per ISA and number of threads.
#include "benchmarks.hpp"
#include "measure/isas.hpp"
#include "measure/machine.hpp"
#include "measure/workload.hpp"

#include <exception>
#include <memory>
#include <set>
#include <string>

namespace rapt::benchmarks {
namespace {

/// The inputs of the latest preset, whose benchmarks follow each other and each run several times;
/// the inputs of all presets at once would not fit into memory.
class LatestWorkload {
 public:
  tools::Workload& get(const tools::WorkShape& shape) {
    if (work_ == nullptr || preset_ != shape.preset) {
      work_.reset();
      work_ = tools::make_workload(shape, tools::last_level_cache(tools::describe_machine()));
      preset_ = shape.preset;
    }
    return *work_;
  }

 private:
  std::string preset_;
  std::unique_ptr<tools::Workload> work_;
};

void register_preset(const std::string& preset, Isa isa, int threads,
                     const std::shared_ptr<LatestWorkload>& latest) {
  const tools::WorkShape shape = tools::completed(tools::preset_shape(preset));
  const std::string name = tools::kind_name(shape.kind) + "/" + std::string(isa_name(isa)) + "/" +
                           preset + "/threads:" + std::to_string(threads);
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    try {
      tools::Workload& work = latest->get(shape);
      const tools::ForcedIsa forced(isa);
      measure(state, isa, threads, {work.flops(), work.bytes()}, [&work] { work.call(); });
    } catch (const std::exception& error) {
      state.SkipWithError(error.what());
    }
  });
}

}  // namespace

void register_workloads() {
  const auto latest = std::make_shared<LatestWorkload>();
  const std::set<int> threads{1, tools::describe_machine().cores};
  for (const char* preset : {"T1", "P1", "P2", "P3", "P4", "D1", "D2", "G1", "G1b", "G2", "M1"}) {
    for (const Isa isa : available_isas()) {
      if (isa == Isa::scalar && preset != std::string("T1")) continue;
      for (const int count : threads) register_preset(preset, isa, count, latest);
    }
  }
}

}  // namespace rapt::benchmarks
