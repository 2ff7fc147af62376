// Parts of the kernels, each alone on inputs that stay in the caches.
#include "benchmarks.hpp"
#include "dispatch/dispatch.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "measure/float_buffer.hpp"

#include <cmath>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <string>

namespace rapt::benchmarks {
namespace {

using kernels::kDepthBlock;
using kernels::KernelSet;
using kernels::kKeyBlock;
using kernels::kLanes;
using kernels::kPanel;
using tools::drawn;
using tools::FloatBuffer;

/// The multiply-adds of the polynomial only; the other steps of exp2 are not multiply-adds.
constexpr double kExp2Flops = 10.0;

double product(std::initializer_list<std::int64_t> extents) {
  double value = 1.0;
  for (const std::int64_t extent : extents) value *= static_cast<double>(extent);
  return value;
}

/// Copies values of at most 0, the domain of exp2, into and out of a part of an array.
void exp2(benchmark::State& state, Isa isa, std::int64_t count) {
  const KernelSet& set = dispatch::kernels_of(isa);
  FloatBuffer x = drawn(product({count}), 1, 20.0f);
  for (float& value : x.values()) value = -std::fabs(value);
  FloatBuffer y(x.size());
  measure(state, isa, 1, {kExp2Flops * product({count}), 8.0 * product({count})},
          [&] { set.exp2(x.data(), y.data(), count); });
}

/// A row tile of queries times one block of keys.
void scores(benchmark::State& state, Isa isa, std::int64_t head_dim) {
  const KernelSet& set = dispatch::kernels_of(isa);
  const std::int64_t rows = set.tiles.rows;
  const FloatBuffer q = drawn(product({rows, head_dim}), 2);
  const FloatBuffer k = drawn(product({kKeyBlock, head_dim}), 3);
  FloatBuffer s = drawn(product({rows, kKeyBlock}), 4);
  const kernels::ScoresArgs args{.q = q.data(),
                                 .k = k.data(),
                                 .head_dim = head_dim,
                                 .rows = rows,
                                 .keys = kKeyBlock,
                                 .s = s.data()};
  measure(state, isa, 1,
          {2.0 * product({rows, kKeyBlock, head_dim}),
           4.0 * (product({rows + kKeyBlock, head_dim}) + product({rows, kKeyBlock}))},
          [&] { set.scores(args); });
}

/// The rows of a row tile, one after the other, in place: from the second call on the scores are
/// the weights of the call before, which does not affect the time.
void softmax(benchmark::State& state, Isa isa, std::int64_t keys) {
  const KernelSet& set = dispatch::kernels_of(isa);
  const std::int64_t rows = set.tiles.rows;
  FloatBuffer s = drawn(product({rows, kKeyBlock}), 5, 20.0f);
  measure(state, isa, 1, {kExp2Flops * product({rows, keys}), 8.0 * product({rows, keys})}, [&] {
    for (std::int64_t row = 0; row < rows; ++row) {
      kernels::SoftmaxArgs args{.s = s.data() + row * kLanes,
                                .begin = 0,
                                .end = keys,
                                .keys = keys,
                                .m = 0.0f,
                                .l = 0.0f};
      set.softmax(args);
    }
  });
}

/// The weights of a row tile times one block of values, folded into the running state.
void values(benchmark::State& state, Isa isa, std::int64_t value_dim) {
  const KernelSet& set = dispatch::kernels_of(isa);
  const std::int64_t rows = set.tiles.rows;
  const FloatBuffer p = drawn(product({rows, kKeyBlock}), 6);
  const FloatBuffer v = drawn(product({kKeyBlock, value_dim}), 7);
  // Factors below 1 keep the folded state finite.
  const FloatBuffer a = drawn(product({rows}), 8, 0.5f);
  const FloatBuffer b = drawn(product({rows}), 9);
  FloatBuffer o = drawn(product({rows, value_dim}), 10);
  const kernels::ValuesArgs args{.p = p.data(),
                                 .v = v.data(),
                                 .v_stride = kPanel,
                                 .panel_stride = std::int64_t{kKeyBlock} * kPanel,
                                 .keys = kKeyBlock,
                                 .rows = rows,
                                 .columns = value_dim,
                                 .a = a.data(),
                                 .b = b.data(),
                                 .o = o.data(),
                                 .o_stride = value_dim};
  measure(state, isa, 1,
          {2.0 * product({rows, kKeyBlock, value_dim}),
           4.0 * (product({rows, kKeyBlock + 2 * value_dim}) + product({kKeyBlock, value_dim}))},
          [&] { set.values(args); });
}

/// Rows times two panels of weights over one depth block, the packing of the rows included.
void linear_tile(benchmark::State& state, Isa isa, std::int64_t rows) {
  constexpr std::int64_t kPanels = 2;
  constexpr std::int64_t kColumns = kPanels * kPanel;
  const KernelSet& set = dispatch::kernels_of(isa);
  const FloatBuffer x = drawn(product({rows, kDepthBlock}), 11);
  const FloatBuffer weight = drawn(product({kDepthBlock, kColumns}), 12);
  FloatBuffer y = drawn(product({rows, kColumns}), 13);
  kernels::LinearArgs args{.tuning = &set.tuning,
                           .x = x.data(),
                           .x_type = kernels::ElementType::f32,
                           .x_stride = kDepthBlock,
                           .rows = rows,
                           .depth = kDepthBlock,
                           .weight = weight.data(),
                           .weight_type = kernels::ElementType::f32,
                           .panel_begin = 0,
                           .panel_end = kPanels,
                           .columns = kColumns,
                           .bias = nullptr,
                           .y = y.data(),
                           .y_type = kernels::ElementType::f32,
                           .y_stride = kColumns,
                           .scratch = nullptr};
  FloatBuffer scratch(static_cast<std::size_t>(set.linear_scratch(args)));
  args.scratch = scratch.data();
  measure(state, isa, 1,
          {2.0 * product({rows, kDepthBlock, kColumns}),
           4.0 * (product({rows + kColumns, kDepthBlock}) + product({rows, kColumns}))},
          [&] { set.linear(args); });
}

using Kernel = void (*)(benchmark::State&, Isa, std::int64_t);

void register_kernel(const std::string& kernel, Kernel run, const std::string& size,
                     std::initializer_list<std::int64_t> sizes) {
  for (const Isa isa : available_isas()) {
    for (const std::int64_t value : sizes) {
      const std::string name =
          kernel + "/" + std::string(isa_name(isa)) + "/" + size + ":" + std::to_string(value);
      benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
        try {
          run(state, isa, value);
        } catch (const std::exception& error) {
          state.SkipWithError(error.what());
        }
      });
    }
  }
}

}  // namespace

void register_kernels() {
  register_kernel("exp2", exp2, "count", {4096});
  register_kernel("scores", scores, "head_dim", {32, 64, 128});
  register_kernel("softmax", softmax, "keys", {100, kKeyBlock});
  register_kernel("values", values, "value_dim", {32, 64, 128});
  register_kernel("linear_tile", linear_tile, "rows", {12, 192});
}

}  // namespace rapt::benchmarks
