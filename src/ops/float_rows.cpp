#include "ops/float_rows.hpp"

#include "core/aligned_buffer.hpp"
#include "core/per_thread.hpp"
#include "dispatch/element_type.hpp"

namespace rapt {

FloatRows widened_rows(const kernels::KernelSet& kernels, const TensorView<const void, 4>& x,
                       const TensorView<void, 4>& y, const RowPart& part) {
  const void* const from = x.at(row_offset(x.strides, part));
  const std::int64_t rows = part.end - part.begin, width = x.shape[3];
  FloatRows floats{};
  if (y.dtype == DType::f32) {
    floats.y = static_cast<float*>(y.data) + row_offset(y.strides, part);
    floats.y_stride = y.strides[2];
  } else {
    constinit thread_local core::PerThread<AlignedBuffer> memory;
    floats.y = memory.get().reserve(rows * width);
    floats.y_stride = width;
  }
  if (x.dtype == DType::f32) {
    floats.x = static_cast<const float*>(from);
    floats.x_stride = x.strides[2];
    return floats;
  }
  kernels.widen({.from = from,
                 .from_stride = x.strides[2],
                 .to = floats.y,
                 .to_stride = floats.y_stride,
                 .rows = rows,
                 .width = width,
                 .type = element_type(x.dtype)});
  floats.x = floats.y;
  floats.x_stride = floats.y_stride;
  return floats;
}

void store_rows(const kernels::KernelSet& kernels, const FloatRows& rows,
                const TensorView<void, 4>& y, const RowPart& part) {
  if (y.dtype == DType::f32) return;
  kernels.narrow({.from = rows.y,
                  .from_stride = rows.y_stride,
                  .to = y.at(row_offset(y.strides, part)),
                  .to_stride = y.strides[2],
                  .rows = part.end - part.begin,
                  .width = y.shape[3],
                  .type = element_type(y.dtype)});
}

}  // namespace rapt
