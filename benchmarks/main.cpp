// Micro-benchmarks of Rapt: the flags are those of Google Benchmark.
#include "benchmarks.hpp"
#include "measure/machine.hpp"
#include "measure/measure.hpp"

#include <benchmark/benchmark.h>
#include <oneapi/tbb/task_arena.h>

#include <cstdio>
#include <exception>
#include <vector>

namespace rapt::benchmarks {

void measure(benchmark::State& state, Isa isa, int threads, const Cost& cost,
             const std::function<void()>& call) {
  oneapi::tbb::task_arena arena(threads);
  arena.execute([&] {
    call();
    // A peak measurement takes a few milliseconds, in which other processes may run: use the median
    // of several.
    std::vector<double> peaks;
    const auto measure_peaks = [&peaks, isa] {
      for (int i = 0; i < 3; ++i) peaks.push_back(tools::measure_fma_peak(isa));
    };
    measure_peaks();
    // By default the framework's counters divide by the CPU time of this thread; with several
    // threads only the wall clock gives a rate.
    const double total = tools::seconds_of([&] {
      for ([[maybe_unused]] auto _ : state) call();
    });
    measure_peaks();
    const double seconds = total / static_cast<double>(state.iterations());
    state.counters["GFLOP/s"] = cost.flops / seconds * 1e-9;
    state.counters["GB/s"] = cost.bytes / seconds * 1e-9;
    state.counters["share_of_peak"] = cost.flops / seconds / tools::median(peaks);
  });
}

}  // namespace rapt::benchmarks

int main(int argc, char** argv) {
  try {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::AddCustomContext("machine", rapt::tools::sentence(rapt::tools::describe_machine()));
    rapt::benchmarks::register_kernels();
    rapt::benchmarks::register_plans();
    rapt::benchmarks::register_workloads();
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rapt_benchmarks: %s\n", error.what());
    return 1;
  }
}
