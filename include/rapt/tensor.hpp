// TensorView: a pointer, a shape and strides. It owns nothing and copies nothing.
#pragma once

#include "rapt/dtype.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace rapt {

/// A view of caller's memory with `Rank` dimensions.
///   element (i, j, ...) is at data[i * strides[0] + j * strides[1] + ...]
/// Strides are in elements, may be negative, and may be 0 for a dimension that is broadcast (inputs
/// only). Functions that need a dense last dimension (stride 1) say so and throw otherwise. The
/// strides of a tensor without elements are ignored.
template <class T, int Rank>
struct TensorView {
  using Index = std::array<std::int64_t, static_cast<std::size_t>(Rank)>;
  /// For templates that accept exactly Rank numbers.
  template <std::size_t N>
  using IfRank = std::enable_if_t<N == static_cast<std::size_t>(Rank), int>;

  T* data = nullptr;
  Index shape{};
  Index strides{};

  constexpr TensorView() = default;

  /// A dense, row-major view: the last dimension varies fastest. The extents are exactly Rank
  /// numbers in braces, or an Index: another count does not compile, so that a call with views in
  /// braces selects the overload of its rank.
  ///
  /// ```cpp
  /// const rapt::TensorView<const float, 2> rows(floats, {4, 8});
  /// rapt::rms_norm(rows, {results, {4, 8}});
  /// ```
  template <std::size_t N, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::int64_t (&shape_)[N])
      : TensorView(data_, std::to_array(shape_)) {}
  template <std::size_t N, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::array<std::int64_t, N>& shape_)
      : data(data_), shape(shape_), strides(dense_strides(shape_)) {}

  /// With strides, in the same forms.
  ///
  /// ```cpp
  /// rapt::rms_norm({floats, {4, 8}}, {results, {4, 8}, {16, 1}});  // rows 16 apart
  /// ```
  template <std::size_t N, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::int64_t (&shape_)[N], const std::int64_t (&strides_)[N])
      : TensorView(data_, std::to_array(shape_), std::to_array(strides_)) {}
  template <std::size_t N, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::array<std::int64_t, N>& shape_,
                       const std::array<std::int64_t, N>& strides_)
      : data(data_), shape(shape_), strides(strides_) {}
  template <std::size_t N, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::array<std::int64_t, N>& shape_,
                       const std::int64_t (&strides_)[N])
      : TensorView(data_, shape_, std::to_array(strides_)) {}
  template <std::size_t N, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::int64_t (&shape_)[N],
                       const std::array<std::int64_t, N>& strides_)
      : TensorView(data_, std::to_array(shape_), strides_) {}

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

  /// The same memory with dimensions a and b swapped: [batch, tokens, heads, head_dim] (BSHD)
  /// becomes [batch, heads, tokens, head_dim] by `view.swapped(1, 2)`.
  constexpr TensorView swapped(int a, int b) const {
    TensorView view = *this;
    std::swap(view.shape[static_cast<std::size_t>(a)], view.shape[static_cast<std::size_t>(b)]);
    std::swap(view.strides[static_cast<std::size_t>(a)], view.strides[static_cast<std::size_t>(b)]);
    return view;
  }

  /// The part [begin, begin + count) of one dimension; unchecked. An empty part keeps the address,
  /// so that no address outside the memory is formed.
  constexpr TensorView sliced(int dim, std::int64_t begin, std::int64_t count) const {
    TensorView view = *this;
    if (count > 0) view.data += begin * strides[static_cast<std::size_t>(dim)];
    view.shape[static_cast<std::size_t>(dim)] = count;
    return view;
  }

  /// The number of elements, 1 for each dimension of size 1.
  constexpr std::int64_t size() const {
    // Unsigned, which may wrap: if one extent is 0, the others may be of any size.
    std::uint64_t n = 1;
    for (const std::int64_t extent : shape) n *= static_cast<std::uint64_t>(extent);
    return static_cast<std::int64_t>(n);
  }

 private:
  static constexpr Index dense_strides(const Index& shape) {
    Index strides{};
    // Unsigned, so that a shape too large to exist wraps here and is rejected by the validation.
    std::uint64_t stride = 1;
    for (std::size_t i = shape.size(); i-- > 0;) {
      strides[i] = static_cast<std::int64_t>(stride);
      stride *= static_cast<std::uint64_t>(shape[i]);
    }
    return strides;
  }
};

/// A view of memory whose elements' type is known at run time: what functions take whose tensors
/// may be of several types. Every TensorView of such a type converts to it; in braces it is made
/// in the same forms, the type being that of the pointer:
///
/// ```cpp
/// rapt::attention({floats, {1, 1, 4, 8}}, {floats, {1, 1, 4, 8}}, {floats, {1, 1, 4, 8}},
///                 {halves, {1, 1, 4, 8}});  // float*, bfloat16* and float16* in any mix
/// ```
///
/// Void: const void for inputs, void for outputs.
template <class Void, int Rank>
requires std::is_void_v<Void>
struct TensorView<Void, Rank> {
  using Index = std::array<std::int64_t, static_cast<std::size_t>(Rank)>;
  /// For templates that accept pointers to elements of a known type, const only if this view is.
  template <class T>
  using IfElement = std::enable_if_t<
      Element<std::remove_const_t<T>> && (std::is_const_v<Void> || !std::is_const_v<T>), int>;
  template <std::size_t N>
  using IfRank = std::enable_if_t<N == static_cast<std::size_t>(Rank), int>;

  Void* data = nullptr;
  Index shape{};
  Index strides{};  ///< in elements
  DType dtype = DType::f32;

  constexpr TensorView() = default;

  /// Of `type`, with strides in elements.
  constexpr TensorView(Void* data_, DType type, const Index& shape_, const Index& strides_)
      : data(data_), shape(shape_), strides(strides_), dtype(type) {}
  /// Dense, row-major.
  constexpr TensorView(Void* data_, DType type, const Index& shape_)
      : TensorView(data_, type, shape_, TensorView<const float, Rank>(nullptr, shape_).strides) {}

  // A view of elements of a known type, or what makes one in braces.
  template <class T, IfElement<T> = 0>
  constexpr TensorView(const TensorView<T, Rank>& view)
      : TensorView(view.data, kDTypeOf<std::remove_const_t<T>>, view.shape, view.strides) {}
  template <class T, std::size_t N, IfElement<T> = 0, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::int64_t (&shape_)[N])
      : TensorView(TensorView<T, Rank>(data_, shape_)) {}
  template <class T, std::size_t N, IfElement<T> = 0, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::array<std::int64_t, N>& shape_)
      : TensorView(TensorView<T, Rank>(data_, shape_)) {}
  template <class T, std::size_t N, IfElement<T> = 0, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::int64_t (&shape_)[N], const std::int64_t (&strides_)[N])
      : TensorView(TensorView<T, Rank>(data_, shape_, strides_)) {}
  template <class T, std::size_t N, IfElement<T> = 0, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::array<std::int64_t, N>& shape_,
                       const std::array<std::int64_t, N>& strides_)
      : TensorView(TensorView<T, Rank>(data_, shape_, strides_)) {}
  template <class T, std::size_t N, IfElement<T> = 0, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::array<std::int64_t, N>& shape_,
                       const std::int64_t (&strides_)[N])
      : TensorView(TensorView<T, Rank>(data_, shape_, strides_)) {}
  template <class T, std::size_t N, IfElement<T> = 0, IfRank<N> = 0>
  constexpr TensorView(T* data_, const std::int64_t (&shape_)[N],
                       const std::array<std::int64_t, N>& strides_)
      : TensorView(TensorView<T, Rank>(data_, shape_, strides_)) {}

  /// A view of an output is one of an input.
  template <class U>
  requires(std::is_same_v<U, void>&& std::is_const_v<Void>) constexpr TensorView(
      const TensorView<U, Rank>& other)
      : TensorView(other.data, other.dtype, other.shape, other.strides) {}

  /// As of a view with elements of a known type.
  constexpr TensorView swapped(int a, int b) const {
    TensorView view = *this;
    std::swap(view.shape[static_cast<std::size_t>(a)], view.shape[static_cast<std::size_t>(b)]);
    std::swap(view.strides[static_cast<std::size_t>(a)], view.strides[static_cast<std::size_t>(b)]);
    return view;
  }

  constexpr TensorView sliced(int dim, std::int64_t begin, std::int64_t count) const {
    TensorView view = *this;
    if (count > 0) view.data = at(begin * strides[static_cast<std::size_t>(dim)]);
    view.shape[static_cast<std::size_t>(dim)] = count;
    return view;
  }

  /// The address `offset` elements after `data`.
  Void* at(std::int64_t offset) const {
    using Byte = std::conditional_t<std::is_const_v<Void>, const char, char>;
    return static_cast<Byte*>(data) + offset * static_cast<std::int64_t>(dtype_size(dtype));
  }

  /// The view of T that this is. Only if dtype is T's.
  template <class T>
  TensorView<T, Rank> as() const {
    return {static_cast<T*>(data), shape, strides};
  }
};

}  // namespace rapt
