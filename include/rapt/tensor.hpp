// TensorView: a pointer, a shape and strides. It owns nothing and copies nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace rapt {

/// A view of caller's memory with `Rank` dimensions.
///   element (i, j, ...) lies at data[i * strides[0] + j * strides[1] + ...]
/// Strides are in elements, may be negative, and may be 0 for a dimension that is broadcast (inputs
/// only). Functions that need a dense last dimension (stride 1) say so and throw otherwise.
template <class T, int Rank>
struct TensorView {
  using Index = std::array<std::int64_t, static_cast<std::size_t>(Rank)>;

  T* data = nullptr;
  Index shape{};
  Index strides{};

  constexpr TensorView() = default;

  /// A dense, row-major view: the last dimension varies fastest.
  constexpr TensorView(T* data_, const Index& shape_) : data(data_), shape(shape_) {
    std::int64_t stride = 1;
    for (int i = Rank - 1; i >= 0; --i) {
      strides[static_cast<std::size_t>(i)] = stride;
      // Unsigned, so that a shape too large to exist wraps here and is refused by the validation.
      stride =
          static_cast<std::int64_t>(static_cast<std::uint64_t>(stride) *
                                    static_cast<std::uint64_t>(shape[static_cast<std::size_t>(i)]));
    }
  }

  constexpr TensorView(T* data_, const Index& shape_, const Index& strides_)
      : data(data_), shape(shape_), strides(strides_) {}

  /// A view of T is a view of const T.
  template <class U>
  requires(std::is_same_v<T, const U>) constexpr TensorView(const TensorView<U, Rank>& other)
      : data(other.data), shape(other.shape), strides(other.strides) {}

  /// The element at the given indices; unchecked.
  template <class... I>
  requires(sizeof...(I) == Rank) constexpr T& operator()(I... index) const {
    const Index at{static_cast<std::int64_t>(index)...};
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < at.size(); ++i) offset += at[i] * strides[i];
    return data[offset];
  }

  /// The same memory with dimensions a and b exchanged: [batch, tokens, heads, head_dim] (BSHD)
  /// becomes [batch, heads, tokens, head_dim] by `view.swapped(1, 2)`.
  constexpr TensorView swapped(int a, int b) const {
    TensorView view = *this;
    std::swap(view.shape[static_cast<std::size_t>(a)], view.shape[static_cast<std::size_t>(b)]);
    std::swap(view.strides[static_cast<std::size_t>(a)], view.strides[static_cast<std::size_t>(b)]);
    return view;
  }

  /// The part [begin, begin + count) of one dimension; unchecked.
  constexpr TensorView sliced(int dim, std::int64_t begin, std::int64_t count) const {
    TensorView view = *this;
    view.data += begin * strides[static_cast<std::size_t>(dim)];
    view.shape[static_cast<std::size_t>(dim)] = count;
    return view;
  }

  /// The number of elements, 1 for each dimension of size 1.
  constexpr std::int64_t size() const {
    std::int64_t n = 1;
    for (const std::int64_t extent : shape) n *= extent;
    return n;
  }
};

}  // namespace rapt
