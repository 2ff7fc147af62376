// What every call asks of the tensors that it is given: sizes, dense rows, separate memory; each
// violation is one sentence.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <span>
#include <string>

#include "rapt/error.hpp"
#include "rapt/tensor.hpp"

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

/// The bytes [begin, end) that a view can reach; begin == end when there are none.
struct MemoryRange {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};

/// Sets `range` to the bytes of the view; false when they are more than can be addressed.
template <class T, int Rank>
bool find_memory_range(const TensorView<T, Rank>& view, MemoryRange& range) {
  range = {};
  for (const std::int64_t extent : view.shape) {
    if (extent == 0) return true;
  }
  std::int64_t first = 0;
  std::int64_t last = 0;
  for (std::size_t i = 0; i < view.shape.size(); ++i) {
    std::int64_t step = 0;
    if (__builtin_mul_overflow(view.shape[i] - 1, view.strides[i], &step)) return false;
    std::int64_t& end = step < 0 ? first : last;
    if (__builtin_add_overflow(end, step, &end)) return false;
  }
  std::int64_t begin_bytes = 0;
  std::int64_t end_bytes = 0;
  constexpr auto size = static_cast<std::int64_t>(sizeof(T));
  if (__builtin_mul_overflow(first, size, &begin_bytes)) return false;
  if (__builtin_add_overflow(last, std::int64_t{1}, &last)) return false;
  if (__builtin_mul_overflow(last, size, &end_bytes)) return false;
  const auto address = reinterpret_cast<std::uintptr_t>(view.data);
  range = {address + static_cast<std::uintptr_t>(begin_bytes),
           address + static_cast<std::uintptr_t>(end_bytes)};
  return range.begin < range.end;
}

/// The range of a view that was checked, or of one that attention() is going to check: what cannot
/// be addressed counts as empty here.
template <class T, int Rank>
MemoryRange memory_range(const TensorView<T, Rank>& view) {
  MemoryRange range;
  const bool addressable = view.data != nullptr && find_memory_range(view, range);
  return addressable ? range : MemoryRange{};
}

template <class T>
MemoryRange memory_range(std::span<T> values) {
  const auto address = reinterpret_cast<std::uintptr_t>(values.data());
  return {address, address + values.size_bytes()};
}

inline void check_disjoint(const char* output, const MemoryRange& written, const char* input,
                           const MemoryRange& read) {
  const bool both = written.begin < written.end && read.begin < read.end;
  if (!both || written.end <= read.begin || read.end <= written.begin) return;
  fail(std::string(output) + ": overlaps " + input);
}

/// Extents of at least 0, memory where there are elements, an end that can be addressed; any
/// strides.
template <class T, int Rank>
void check_strided_input(const char* name, const TensorView<T, Rank>& view) {
  // A call that is right makes no string: there may be no memory for one.
  const auto refuse = [name](const std::string& why) { fail(std::string(name) + ": " + why); };
  bool has_elements = true;
  for (std::size_t i = 0; i < view.shape.size(); ++i) {
    if (view.shape[i] < 0) {
      refuse("extent " + std::to_string(view.shape[i]) + " of dimension " + std::to_string(i) +
             " is below 0");
    }
    has_elements = has_elements && view.shape[i] > 0;
  }
  if (!has_elements) return;
  if (view.data == nullptr) refuse("no memory is given for a tensor that has elements");
  MemoryRange range;
  if (!find_memory_range(view, range)) refuse("shape and strides reach beyond all memory");
}

/// As check_strided_input; and a dense last dimension.
template <class T, int Rank>
void check_input(const char* name, const TensorView<T, Rank>& view) {
  check_strided_input(name, view);
  if (view.shape.back() > 1 && view.strides.back() != 1) {
    fail(std::string(name) + ": the stride " + std::to_string(view.strides.back()) +
         " of the last dimension is not 1");
  }
}

/// Whether each dimension steps over all that the ones behind it cover, as in most tensors; others
/// are in another order, or share memory.
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

/// As check_input; and no two elements share memory: taken by ascending stride, each dimension
/// steps over all that the ones before it cover.
template <class T, int Rank>
void check_output(const char* name, const TensorView<T, Rank>& view) {
  check_input(name, view);
  if (std::ranges::count(view.shape, 0) > 0) return;
  if (is_nested(view)) return;
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
}

}  // namespace rapt::core
