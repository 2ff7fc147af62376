// Fused against unfused: attention() and its textbook form from the same kernels over many shapes,
// on one thread, alternating; and attention() on every core against one. Prints JSON;
// scripts/plot_sweep.py draws it.
#include "core/same_bits.hpp"
#include "dispatch/dispatch.hpp"
#include "measure/isas.hpp"
#include "measure/machine.hpp"
#include "measure/measure.hpp"
#include "rapt/attention.hpp"
#include "text/json.hpp"
#include "text/output.hpp"
#include "unfused.hpp"

#include <oneapi/tbb/task_arena.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace rapt::benchmarks {
namespace {

using tools::FloatBuffer;
using tools::Json;

constexpr std::int64_t kLengths[][2] = {
    {1, 1},     {16, 16},     {1, 64},     {64, 64},    {16, 200},    {128, 128},
    {1, 1024},  {256, 256},   {16, 1024},  {512, 512},  {1, 4096},    {64, 4096},
    {1, 16384}, {1024, 1024}, {16, 16384}, {300, 5000}, {2048, 2048}, {128, 16384}};
constexpr std::int64_t kHeadDims[] = {16, 32, 64, 128, 256};
constexpr std::int64_t kHeads[] = {1, 8};
/// Maximum multiply-adds of a shape: larger ones add no information.
constexpr double kMaxWork = 2.5e9;

/// Inputs of one shape, and both computations of the output.
class Contest {
 public:
  Contest(const UnfusedShape& shape, const kernels::KernelSet& kernels)
      : shape_(shape),
        q_(tools::drawn(size(shape.q_len), 1)),
        k_(tools::drawn(size(shape.kv_len), 2)),
        v_(tools::drawn(size(shape.kv_len), 3)),
        fused_(q_.size()),
        unfused_(q_.size()),
        textbook_(shape, kernels) {}

  void fused() { attention(queries(), keys(k_), keys(v_), output(fused_)); }

  void unfused() { textbook_.call(q_.data(), k_.data(), v_.data(), unfused_.data()); }

  bool same_bits() const { return rapt::same_bits(fused_.values(), unfused_.values()); }

 private:
  TensorView<const float, 4> queries() const {
    return {q_.data(), {1, shape_.heads, shape_.q_len, shape_.head_dim}};
  }
  TensorView<const float, 4> keys(const FloatBuffer& buffer) const {
    return {buffer.data(), {1, shape_.heads, shape_.kv_len, shape_.head_dim}};
  }
  TensorView<float, 4> output(FloatBuffer& buffer) const {
    return {buffer.data(), {1, shape_.heads, shape_.q_len, shape_.head_dim}};
  }
  double size(std::int64_t tokens) const {
    return static_cast<double>(shape_.heads * tokens * shape_.head_dim);
  }

  UnfusedShape shape_;
  FloatBuffer q_, k_, v_, fused_, unfused_;
  Unfused textbook_;
};

/// Samples of both computations on one thread, and of the fused one on every core.
struct Samples {
  std::vector<double> fused, unfused, shared;
  std::vector<double> ratios, speedups;  ///< of adjacent samples
  std::vector<double> scaling;  ///< of the FMA peak, every core over one, measured between samples

  void add(double fused_, double unfused_, double shared_) {
    fused.push_back(fused_);
    unfused.push_back(unfused_);
    shared.push_back(shared_);
    ratios.push_back(unfused_ / fused_);
    speedups.push_back(fused_ / shared_);
  }
};

/// Alternates, also in which one is first.
Samples sampled(Contest& contest, Isa isa, int cores) {
  constexpr double kSeconds = 0.1;
  constexpr int kMin = 7, kMax = 101, kPeaks = 3;
  oneapi::tbb::task_arena alone(1), all(cores);
  std::int64_t calls = 1;
  const auto time = [&calls](oneapi::tbb::task_arena& arena, const std::function<void()>& call) {
    double seconds = 0;
    arena.execute([&] { seconds = tools::seconds_per_call(call, calls); });
    return seconds;
  };
  const std::function<void()> fused = [&] { contest.fused(); };
  const std::function<void()> unfused = [&] { contest.unfused(); };
  time(all, fused);
  calls = tools::calls_per_sample(time(alone, fused));
  Samples samples;
  double spent = 0;
  for (int round = 0; round < kMax && (round < kMin || spent < kSeconds); ++round) {
    const bool unfused_first = round % 2 == 1;
    double b = unfused_first ? time(alone, unfused) : 0;
    const double a = time(alone, fused);
    if (!unfused_first) b = time(alone, unfused);
    samples.add(a, b, time(all, fused));
    if (round < kPeaks) {
      double one = 0, every = 0;
      alone.execute([&] { one = tools::measure_fma_peak(isa); });
      all.execute([&] { every = tools::measure_fma_peak(isa); });
      samples.scaling.push_back(every / one);
    }
    spent += (a + b) * static_cast<double>(calls);
  }
  return samples;
}

Json measured(const UnfusedShape& shape, Isa isa, int cores) {
  Contest contest(shape, dispatch::kernels_of(isa));
  contest.fused();
  contest.unfused();
  if (!contest.same_bits()) throw std::runtime_error("fused and unfused bits differ");
  const Samples samples = sampled(contest, isa, cores);
  const double flops = 4.0 * static_cast<double>(shape.heads * shape.q_len * shape.kv_len) *
                       static_cast<double>(shape.head_dim);
  return {{"isa", isa_name(isa)},
          {"heads", shape.heads},
          {"q_len", shape.q_len},
          {"kv_len", shape.kv_len},
          {"head_dim", shape.head_dim},
          {"fused_us", tools::median(samples.fused) * 1e6},
          {"unfused_us", tools::median(samples.unfused) * 1e6},
          {"shared_us", tools::median(samples.shared) * 1e6},
          {"fused_gflops", flops / tools::median(samples.fused) * 1e-9},
          {"ratio", tools::median(samples.ratios)},
          {"speedup", tools::median(samples.speedups)},
          {"fma_scaling", tools::median(samples.scaling)},
          {"rounds", samples.ratios.size()}};
}

std::vector<UnfusedShape> shapes_of(std::int64_t head_dim) {
  std::vector<UnfusedShape> shapes;
  for (const auto& [q_len, kv_len] : kLengths) {
    for (const std::int64_t heads : kHeads) {
      const double work = 2.0 * static_cast<double>(heads * q_len * kv_len * head_dim);
      if (work <= kMaxWork) shapes.push_back({heads, q_len, kv_len, head_dim});
    }
  }
  return shapes;
}

void run(const std::vector<Isa>& isas, std::int64_t only_head_dim) {
  const tools::Machine machine = tools::describe_machine();
  Json json = {{"machine", tools::to_json(machine)}, {"results", Json::list()}};
  for (const std::int64_t head_dim : kHeadDims) {
    if (only_head_dim != 0 && head_dim != only_head_dim) continue;
    for (const UnfusedShape& shape : shapes_of(head_dim)) {
      for (const Isa isa : isas) {
        const tools::ForcedIsa forced(isa);
        json["results"].push_back(measured(shape, isa, machine.cores));
      }
    }
  }
  tools::print_out(json.text());
}

}  // namespace
}  // namespace rapt::benchmarks

/// rapt_sweep [ISA [HEAD_DIM]]: an ISA's name or "all"; one of the head_dims alone.
int main(int argc, char** argv) {
  try {
    const std::string isa = argc > 1 ? argv[1] : "active";
    rapt::benchmarks::run(rapt::tools::chosen_isas("ISA", isa), argc > 2 ? std::stoll(argv[2]) : 0);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rapt_sweep: %s\n", error.what());
    return 1;
  }
}
