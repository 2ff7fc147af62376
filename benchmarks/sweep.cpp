// Fused against unfused: attention() and its textbook form of the same kernels over many shapes, on
// one thread, in turns. Prints JSON; tools/plot_sweep.py draws it.
#include "command.hpp"
#include "dispatch/dispatch.hpp"
#include "driver/validate.hpp"
#include "machine.hpp"
#include "measure.hpp"
#include "rapt/attention.hpp"
#include "unfused.hpp"

#include <oneapi/tbb/task_arena.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace rapt::benchmarks {
namespace {

using tools::FloatBuffer;

constexpr std::int64_t kLengths[][2] = {
    {1, 1},     {16, 16},     {1, 64},     {64, 64},    {16, 200},    {128, 128},
    {1, 1024},  {256, 256},   {16, 1024},  {512, 512},  {1, 4096},    {64, 4096},
    {1, 16384}, {1024, 1024}, {16, 16384}, {300, 5000}, {2048, 2048}, {128, 16384}};
constexpr std::int64_t kHeadDims[] = {16, 32, 64, 128, 256};
constexpr std::int64_t kHeads[] = {1, 8};
/// Multiply-adds of a shape at most: the larger ones only repeat what the smaller ones say.
constexpr double kMostWork = 2.5e9;

/// Inputs of one shape, and both ways to the output.
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

  /// Checks its arguments too, as a function of a library would.
  void unfused() {
    validate_attention(queries(), keys(k_), keys(v_), output(unfused_), {});
    textbook_.call(q_.data(), k_.data(), v_.data(), unfused_.data());
  }

  bool same_bits() const {
    return std::memcmp(fused_.data(), unfused_.data(), fused_.size() * sizeof(float)) == 0;
  }

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

/// In turns, and which is first changes; the ratio is the median of those of neighbours.
nlohmann::json measured(const UnfusedShape& shape, Isa isa) {
  constexpr double kSeconds = 0.1;
  constexpr int kLeast = 7, kMost = 101;
  Contest contest(shape, dispatch::kernels_of(isa));
  contest.fused();
  contest.unfused();
  if (!contest.same_bits()) throw std::runtime_error("fused and unfused bits differ");
  const double one = tools::seconds_of([&] { contest.fused(); });
  const std::int64_t calls = tools::calls_per_sample(one);
  std::vector<double> fused, unfused, ratios;
  double spent = 0;
  for (int round = 0; round < kMost && (round < kLeast || spent < kSeconds); ++round) {
    const auto time_fused = [&] {
      fused.push_back(tools::seconds_per_call([&] { contest.fused(); }, calls));
    };
    if (round % 2 == 0) time_fused();
    unfused.push_back(tools::seconds_per_call([&] { contest.unfused(); }, calls));
    if (round % 2 == 1) time_fused();
    ratios.push_back(unfused.back() / fused.back());
    spent += (fused.back() + unfused.back()) * static_cast<double>(calls);
  }
  const double flops = 4.0 * static_cast<double>(shape.heads * shape.q_len * shape.kv_len) *
                       static_cast<double>(shape.head_dim);
  return {{"isa", isa_name(isa)},
          {"heads", shape.heads},
          {"q_len", shape.q_len},
          {"kv_len", shape.kv_len},
          {"head_dim", shape.head_dim},
          {"fused_us", tools::median(fused) * 1e6},
          {"unfused_us", tools::median(unfused) * 1e6},
          {"fused_gflops", flops / tools::median(fused) * 1e-9},
          {"ratio", tools::median(ratios)},
          {"rounds", ratios.size()}};
}

std::vector<UnfusedShape> shapes_of(std::int64_t head_dim) {
  std::vector<UnfusedShape> shapes;
  for (const auto& [q_len, kv_len] : kLengths) {
    for (const std::int64_t heads : kHeads) {
      const double work = 2.0 * static_cast<double>(heads * q_len * kv_len * head_dim);
      if (work <= kMostWork) shapes.push_back({heads, q_len, kv_len, head_dim});
    }
  }
  return shapes;
}

void run(const std::vector<Isa>& isas, std::int64_t only_head_dim) {
  nlohmann::json json = {{"machine", tools::to_json(tools::describe_machine())},
                         {"threads", 1},
                         {"results", nlohmann::json::array()}};
  oneapi::tbb::task_arena arena(1);
  arena.execute([&] {
    for (const std::int64_t head_dim : kHeadDims) {
      if (only_head_dim != 0 && head_dim != only_head_dim) continue;
      for (const UnfusedShape& shape : shapes_of(head_dim)) {
        for (const Isa isa : isas) {
          const tools::ForcedIsa forced(isa);
          json["results"].push_back(measured(shape, isa));
        }
      }
    }
  });
  tools::print_out(json.dump(1) + "\n");
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
