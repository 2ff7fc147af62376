// Token ids to vectors: each id selects a row of the table, which is copied, or converted.
#include "core/counted.hpp"
#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "dispatch/dispatch.hpp"
#include "dispatch/element_type.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "rapt/multi_head_attention.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace rapt {
namespace {

/// y = x for one row in two types: widened if x has 16 bits, then rounded if y has.
void convert_row(const kernels::KernelSet& kernels, const TensorView<const void, 2>& x,
                 const TensorView<void, 2>& y) {
  constexpr std::int64_t kChunk = 256;
  alignas(64) float chunk[kChunk];
  const std::int64_t width = x.shape[1];
  for (std::int64_t d = 0; d < width; d += kChunk) {
    kernels::ConvertArgs args{.from = x.at(d),
                              .from_stride = 0,
                              .to = y.dtype == DType::f32 ? y.at(d) : chunk,
                              .to_stride = 0,
                              .rows = 1,
                              .width = std::min(kChunk, width - d),
                              .type = element_type(x.dtype)};
    if (x.dtype != DType::f32) {
      kernels.widen(args);
      args.from = chunk;
    }
    if (y.dtype == DType::f32) continue;
    args.to = y.at(d);
    args.type = element_type(y.dtype);
    kernels.narrow(args);
  }
}

}  // namespace

void embedding_lookup(TensorView<const void, 2> table, std::span<const std::int64_t> ids,
                      TensorView<void, 2> y) try {
  const core::MemoryRange read = core::check_input("table", table);
  const core::MemoryRange written = core::check_output("y", y);
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const std::int64_t vocabulary = table.shape[0];
  const std::int64_t features = table.shape[1];
  core::check_extent("y: tokens", y.shape[0], "the number of ids", tokens);
  core::check_extent("y: features", y.shape[1], "the table's", features);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocabulary) {
      core::fail("ids[" + std::to_string(i) + "]: " + std::to_string(ids[i]) +
                 " is outside the table's " + core::counted(vocabulary, "row"));
    }
  }
  core::check_disjoint("y", written, "table", read);
  core::check_disjoint("y", written, "ids", ids);

  if (features == 0) return;
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  const core::DefaultArithmetic mode;
  const std::size_t bytes = static_cast<std::size_t>(features) * dtype_size(table.dtype);
  for (std::int64_t i = 0; i < tokens; ++i) {
    const TensorView<const void, 2> row = table.sliced(0, ids[static_cast<std::size_t>(i)], 1);
    const TensorView<void, 2> to = y.sliced(0, i, 1);
    if (table.dtype == y.dtype) {
      std::memcpy(to.data, row.data, bytes);
    } else {
      convert_row(kernels, row, to);
    }
  }
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
