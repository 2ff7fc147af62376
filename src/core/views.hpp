// Checks of tensor arguments that all calls share: sizes, dense rows, separate memory; each
// violation is one sentence.
#pragma once

#include "rapt/error.hpp"
#include "rapt/tensor.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>

namespace rapt::core {

[[noreturn]] inline void fail(const std::string& sentence) {
  throw Error(ErrorCode::invalid_argument, sentence);
}

/// "x: features 3 does not match model_dim 16", unless they are equal.
inline void check_extent(const char* what, std::int64_t value, const char* expected_name,
                         std::int64_t expected) {
  if (value == expected) return;
  fail(std::string(what) + " " + std::to_string(value) + " does not match " + expected_name + " " +
       std::to_string(expected));
}

/// The bytes [begin, end) that a view can reach.
struct MemoryRange {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;

  bool empty() const { return begin == end; }
};

/// More bytes than any processor addresses, yet small enough that one extra stride per dimension
/// overflows no sum of offsets.
inline constexpr std::int64_t kMaxBytes = std::int64_t{1} << 60;

/// Whether calls take tensors of the type.
constexpr bool is_tensor_type(DType type) {
  return type == DType::f32 || type == DType::bf16 || type == DType::f16;
}

/// Bytes of an element of the view, which is of such a type.
template <class T, int Rank>
constexpr std::int64_t element_size(const TensorView<T, Rank>& view) {
  if constexpr (std::is_void_v<T>) {
    return view.dtype == DType::f32 ? 4 : 2;
  } else {
    return sizeof(T);
  }
}

/// The bytes of the view; end < begin if they are more than can be addressed; empty if an extent is
/// not above 0.
template <class T, int Rank>
MemoryRange find_memory_range(const TensorView<T, Rank>& view) {
  std::int64_t first = 0;
  std::int64_t last = 0;
  bool beyond = false;
  for (std::size_t i = 0; i < view.shape.size(); ++i) {
    if (view.shape[i] <= 0) return {};
    std::int64_t step = 0;
    beyond |= __builtin_mul_overflow(view.shape[i] - 1, view.strides[i], &step);
    if (step < 0) {
      beyond |= __builtin_add_overflow(first, step, &first);
    } else {
      beyond |= __builtin_add_overflow(last, step, &last);
    }
  }
  const std::int64_t size = element_size(view);
  beyond |= first < -kMaxBytes / size || last >= kMaxBytes / size;
  if (beyond) return {1, 0};
  const auto address = reinterpret_cast<std::uintptr_t>(view.data);
  return {address + static_cast<std::uintptr_t>(first * size),
          address + static_cast<std::uintptr_t>((last + 1) * size)};
}

/// The range of a view that was checked, or that attention() will check; a view that cannot be
/// addressed counts as empty here.
template <class T, int Rank>
MemoryRange memory_range(const TensorView<T, Rank>& view) {
  if (view.data == nullptr) return {};
  const MemoryRange range = find_memory_range(view);
  return range.end < range.begin ? MemoryRange{} : range;
}

template <class T>
MemoryRange memory_range(std::span<T> values) {
  const auto address = reinterpret_cast<std::uintptr_t>(values.data());
  return {address, address + values.size_bytes()};
}

/// Out of line: the check runs for every pair of tensors, and its error path should not be inlined.
[[noreturn]] inline void fail_for_overlap(const char* output, const char* input) {
  fail(std::string(output) + ": overlaps " + input);
}

inline void check_disjoint(const char* output, const MemoryRange& written, const char* input,
                           const MemoryRange& read) {
  const bool both = !written.empty() && !read.empty();
  if (both && written.begin < read.end && read.begin < written.end) fail_for_overlap(output, input);
}

/// The same check against the memory of a view or a span, if it has any.
template <class T, int Rank>
void check_disjoint(const char* output, const MemoryRange& written, const char* input,
                    const TensorView<T, Rank>& read) {
  if (read.data != nullptr) check_disjoint(output, written, input, memory_range(read));
}

template <class T>
void check_disjoint(const char* output, const MemoryRange& written, const char* input,
                    std::span<T> read) {
  if (!read.empty()) check_disjoint(output, written, input, memory_range(read));
}

/// Extents of at least 0, data if there are elements, at a multiple of their size, an addressable
/// end; any strides. Returns the bytes of the view, as the other checks do.
template <class T, int Rank>
MemoryRange check_strided_input(const char* name, const TensorView<T, Rank>& view) {
  // A valid call builds no string: there may be no memory for one.
  const auto refuse = [name](const std::string& why) { fail(std::string(name) + ": " + why); };
  if constexpr (std::is_void_v<T>) {
    if (!is_tensor_type(view.dtype)) {
      refuse("type " + std::string(dtype_name(view.dtype)) + " is none of f32, bf16 and f16");
    }
  }
  for (std::size_t i = 0; i < view.shape.size(); ++i) {
    if (view.shape[i] >= 0) continue;
    refuse("extent " + std::to_string(view.shape[i]) + " of dimension " + std::to_string(i) +
           " is below 0");
  }
  const MemoryRange range = find_memory_range(view);
  if (range.empty()) return range;
  if (view.data == nullptr) refuse("no memory is given for a tensor that has elements");
  if (range.end < range.begin) refuse("shape and strides reach beyond all memory");
  if ((range.begin & static_cast<std::uintptr_t>(element_size(view) - 1)) != 0) {
    refuse("the address is not a multiple of the " + std::to_string(element_size(view)) +
           " bytes of an element");
  }
  return range;
}

/// As check_strided_input, and the last dimension is dense if there are elements.
template <class T, int Rank>
MemoryRange check_input(const char* name, const TensorView<T, Rank>& view) {
  const MemoryRange range = check_strided_input(name, view);
  if (!range.empty() && view.shape.back() > 1 && view.strides.back() != 1) {
    fail(std::string(name) + ": the stride " + std::to_string(view.strides.back()) +
         " of the last dimension is not 1");
  }
  return range;
}

/// Whether each stride exceeds the extent of the dimensions after it, as in most tensors; otherwise
/// the dimensions have another order or elements share memory.
template <class T, int Rank>
bool is_nested(const TensorView<T, Rank>& view) {
  std::int64_t covered = 1;
  for (std::size_t dim = Rank; dim-- > 0;) {
    if (view.shape[dim] == 1) continue;
    if (view.strides[dim] < covered) return false;
    covered += view.strides[dim] * (view.shape[dim] - 1);
  }
  return true;
}

/// As check_input, and no two elements share memory: by ascending stride, each dimension's stride
/// exceeds the extent of the dimensions before it.
template <class T, int Rank>
MemoryRange check_output(const char* name, const TensorView<T, Rank>& view) {
  const MemoryRange range = check_input(name, view);
  if (range.empty() || is_nested(view)) return range;
  std::array<std::size_t, Rank> order{};
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto step = [&view](std::size_t dim) {
    return view.shape[dim] > 1 ? std::abs(view.strides[dim]) : 0;
  };
  std::ranges::sort(order, {}, step);
  std::int64_t covered = 1;
  for (const std::size_t dim : order) {
    if (view.shape[dim] == 1) continue;
    if (step(dim) < covered) {
      fail(std::string(name) + ": the stride " + std::to_string(view.strides[dim]) +
           " of dimension " + std::to_string(dim) + " makes elements share memory");
    }
    covered += step(dim) * (view.shape[dim] - 1);
  }
  return range;
}

/// Whether the view, whose extents were checked, has elements.
template <class T, int Rank>
constexpr bool has_elements(const TensorView<T, Rank>& view) {
  return std::ranges::find(view.shape, 0) == view.shape.end();
}

/// The view, with strides of 0 if it has no elements: they may be arbitrary, and no address formed
/// from them may leave the memory.
template <class T, int Rank>
constexpr TensorView<T, Rank> without_idle_strides(TensorView<T, Rank> view) {
  if (!has_elements(view)) view.strides = {};
  return view;
}

}  // namespace rapt::core
