// Linear: packing weights once, sharing rows and columns of the product over threads.
#include "rapt/linear.hpp"

#include "core/aligned_buffer.hpp"
#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "core/per_thread.hpp"
#include "core/sizes.hpp"
#include "core/views.hpp"
#include "dispatch/dispatch.hpp"
#include "dispatch/element_type.hpp"
#include "dispatch/tuning.hpp"
#include "linear/linear_plan.hpp"
#include "parallel/parallel.hpp"
#include "rapt/error.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace rapt {
namespace {

using core::fail;
using kernels::kPanel;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return a / b + (a % b > 0 ? 1 : 0);
}

}  // namespace

struct Linear::Packed {
  std::int64_t in_features, out_features;
  DType type;            // of the weight's elements, as they were given
  AlignedBuffer weight;  // [panel][in_features][kPanel], the last panel padded with zeros
  AlignedBuffer bias;    // [panels * kPanel], empty without bias
};

namespace {

/// Element (out, in) of the weights is at data[out / e * head + in * input + out % e * element].
struct WeightStrides {
  std::int64_t e, head, input, element;
};

void check_bias(std::span<const float> bias, std::int64_t out_features) {
  if (bias.empty() || static_cast<std::int64_t>(bias.size()) == out_features) return;
  fail("bias: length " + std::to_string(bias.size()) +
       " does not match the weight's out_features " + std::to_string(out_features));
}

template <int Rank>
AlignedBuffer pack_weight(const TensorView<const void, Rank>& weight, const WeightStrides& at,
                          std::int64_t in_features, std::int64_t out_features) {
  const std::int64_t panels = ceil_div(out_features, kPanel);
  const std::array factors{panels, in_features, std::int64_t{kPanel}};
  const auto elements = checked_product(factors);
  if (!elements) {
    fail("weight: " + std::to_string(out_features) + " x " + std::to_string(in_features) +
         " elements are more than can be counted");
  }
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  const std::int64_t elements_per_float = std::int64_t{sizeof(float)} / core::element_size(weight);
  AlignedBuffer packed(*elements / elements_per_float);
  const bool shared = dispatch::call_tuning().wakes_threads(static_cast<double>(*elements));
  for_items(panels, shared, [&](std::int64_t panel) {
    kernels.pack_weight({.weight = weight.data,
                         .type = element_type(weight.dtype),
                         .head_columns = at.e,
                         .head_stride = at.head,
                         .column_stride = at.element,
                         .depth_stride = at.input,
                         .depth = in_features,
                         .columns = out_features,
                         .panel_begin = panel,
                         .panel_end = panel + 1,
                         .packed = packed.data()});
  });
  return packed;
}

AlignedBuffer pack_bias(std::span<const float> bias) {
  if (bias.empty()) return {};
  const auto length = static_cast<std::int64_t>(bias.size());
  const std::int64_t padded = ceil_div(length, kPanel) * kPanel;
  AlignedBuffer packed(padded);
  std::fill_n(std::copy_n(bias.data(), length, packed.data()), padded - length, 0.0f);
  return packed;
}

template <int Rank>
void check_weight(const TensorView<const void, Rank>& weight) {
  core::check_strided_input("weight", weight);
  for (std::size_t i = 0; i < weight.shape.size(); ++i) {
    if (weight.shape[i] >= 1) continue;
    fail("weight: extent " + std::to_string(weight.shape[i]) + " of dimension " +
         std::to_string(i) + " is below 1");
  }
}

/// The weights, shared by the copies of their Linear.
template <class Packed>
std::shared_ptr<const Packed> share(Packed&& packed) {
  try {
    return std::make_shared<const Packed>(std::forward<Packed>(packed));
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, SentenceLiteral("weight: no memory for its description"));
  }
}

}  // namespace

Linear::Linear(TensorView<const void, 2> weight, std::span<const float> bias) try {
  check_weight(weight);
  const auto [out, in] = weight.shape;
  check_bias(bias, out);
  const WeightStrides at{out, 0, weight.strides[1], weight.strides[0]};
  packed_ = share(Packed{in, out, weight.dtype, pack_weight(weight, at, in, out), pack_bias(bias)});
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

Linear Linear::from_heads(TensorView<const void, 3> weight, std::span<const float> bias) try {
  check_weight(weight);
  const auto [heads, in, e] = weight.shape;
  const std::array factors{heads, e};
  const auto out = checked_product(factors);
  if (!out) {
    fail("weight: " + std::to_string(heads) + " heads of " + std::to_string(e) +
         " outputs are more than can be counted");
  }
  check_bias(bias, *out);
  const WeightStrides at{e, weight.strides[0], weight.strides[1], weight.strides[2]};
  Linear linear;
  linear.packed_ =
      share(Packed{in, *out, weight.dtype, pack_weight(weight, at, in, *out), pack_bias(bias)});
  return linear;
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

std::int64_t Linear::in_features() const noexcept { return packed_ ? packed_->in_features : 0; }
std::int64_t Linear::out_features() const noexcept { return packed_ ? packed_->out_features : 0; }

void Linear::forward(TensorView<const void, 2> x, TensorView<void, 2> y) const try {
  if (packed_ == nullptr) fail("forward: the layer is empty");
  const core::MemoryRange read = core::check_input("x", x);
  const core::MemoryRange written = core::check_output("y", y);
  core::check_extent("x: in_features", x.shape[1], "the weight's in_features", in_features());
  core::check_extent("y: out_features", y.shape[1], "the weight's out_features", out_features());
  core::check_extent("y: rows", y.shape[0], "x's rows", x.shape[0]);
  core::check_disjoint("y", written, "x", read);

  const core::DefaultArithmetic mode;
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  const std::int64_t rows = x.shape[0];
  if (rows == 0) return;
  const LinearPlan plan = plan_linear(rows, in_features(), out_features(), available_threads(),
                                      dispatch::call_tuning());
  const std::int64_t panels = ceil_div(out_features(), kPanel);
  for_items(plan.row_items * plan.column_items, plan.shared, [&](std::int64_t i) {
    const std::int64_t row = i / plan.column_items * plan.item_rows;
    const std::int64_t panel = i % plan.column_items * plan.item_panels;
    kernels::LinearArgs args{
        .tuning = &kernels.tuning,
        .x = x.at(row * x.strides[0]),
        .x_type = element_type(x.dtype),
        .x_stride = x.strides[0],
        .rows = std::min(plan.item_rows, rows - row),
        .depth = in_features(),
        .weight = packed_->weight.data(),
        .weight_type = element_type(packed_->type),
        .panel_begin = panel,
        .panel_end = std::min(panels, panel + plan.item_panels),
        .columns = out_features(),
        .bias = packed_->bias.data(),
        .y = y.at(row * y.strides[0]),
        .y_type = element_type(y.dtype),
        .y_stride = y.strides[0],
        .scratch = nullptr,
    };
    constinit thread_local core::PerThread<AlignedBuffer> scratch;
    args.scratch = scratch.get().reserve(kernels.linear_scratch(args));
    kernels.linear(args);
  });
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
