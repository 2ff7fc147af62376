// What every benchmark shares: how a call is timed, and the figures reported with the time.
#pragma once

#include "rapt/isa.hpp"

#include <benchmark/benchmark.h>

#include <functional>

namespace rapt::benchmarks {

/// The work of one call: operations and bytes.
struct Cost {
  double flops = 0;
  double bytes = 0;
};

/// Runs the loop of `state` over `call` in an arena of `threads` threads, after one warm-up call,
/// between measurements of the FMA peak of `isa` with as many threads. Reports GFLOP/s, GB/s and
/// share_of_peak by the wall clock.
void measure(benchmark::State& state, Isa isa, int threads, const Cost& cost,
             const std::function<void()>& call);

/// Registers exp2, scores, softmax, values and linear_tile, as KERNEL/ISA/SIZE, on one thread.
void register_kernels();

/// Registers planning a call of attention(), without running it, as plan/PRESET/threads:N.
void register_plans();

/// Registers the presets of `rapt bench` as KIND/ISA/PRESET/threads:N, with one thread and with
/// every core. Only T1 has a benchmark on `scalar`.
void register_workloads();

}  // namespace rapt::benchmarks
