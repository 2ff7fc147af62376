// Random descriptors: numbers and views that are mostly valid and sometimes at the limits of their
// types. A view that a function may accept covers existing memory only.
#pragma once

#include "core/random.hpp"
#include "rapt/tensor.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace rapt::test {

inline constexpr std::int64_t kMaxInt = std::numeric_limits<std::int64_t>::max();
inline constexpr std::int64_t kMinInt = std::numeric_limits<std::int64_t>::min();

/// Draws for one call. Each drawn value is wrong with a probability fixed per call.
class Draws {
 public:
  explicit Draws(std::uint64_t seed);

  bool one_in(std::int64_t n) { return random_.below(n) == 0; }
  std::int64_t below(std::int64_t bound) { return random_.below(bound); }
  /// Whether this value is to be wrong.
  bool wrong() { return random_.below(1000) < wrong_per_mille_; }

  /// Limits of the type, limits of other types, 0, 1, -1, small numbers.
  std::int64_t extreme();
  /// As extreme(), without counts that are valid but take hours to compute.
  std::int64_t extreme_count();
  float extreme_float();

  std::int64_t number(std::int64_t right) { return wrong() ? extreme() : right; }
  std::int64_t count(std::int64_t right) { return wrong() ? extreme_count() : right; }
  float real(float right) { return wrong() ? extreme_float() : right; }
  double wide_real(double right);

  template <class E>
  E one_of(std::initializer_list<E> values) {
    if (wrong()) return static_cast<E>(below(20) - 4);
    return values.begin()[below(static_cast<std::int64_t>(values.size()))];
  }

  /// A tensor of these extents, in any layout, in memory of its element type: inputs anywhere,
  /// outputs usually in separate places.
  template <class T, std::size_t N>
  TensorView<T, static_cast<int>(N)> view(const std::array<std::int64_t, N>& extents) {
    return view<T>(extents, sizeof(T));
  }

  /// The same of any type that calls take, or sometimes of another one, or at an odd address.
  template <class Void, std::size_t N>
  TensorView<Void, static_cast<int>(N)> elements(const std::array<std::int64_t, N>& extents);

  /// Whether a tensor with elements was drawn that no call may take.
  bool unfit() const { return unfit_; }

  /// `length` elements of memory.
  template <class T>
  std::span<const T> span(std::int64_t length);
  /// `length` numbers in the caller's memory.
  template <class Next>
  std::span<const std::int64_t> numbers(std::int64_t length, Next next);
  /// Ascending offsets of n sequences into `rows` rows.
  std::span<const std::int64_t> offsets(std::int64_t sequences, std::int64_t rows);

 private:
  /// bytes: of the smallest element that may take the place of a T.
  template <class T, std::size_t N>
  TensorView<T, static_cast<int>(N)> view(const std::array<std::int64_t, N>& extents, double bytes);
  void step(std::span<const std::int64_t> shape, std::span<std::int64_t> strides);

  Random random_;
  std::int64_t wrong_per_mille_;
  std::int64_t outputs_ = 0;
  bool unfit_ = false;
  std::vector<std::vector<std::int64_t>> numbers_;
};

/// The range of memory that a view covers: bytes before and after its address, and whether it has
/// elements.
struct Reach {
  bool elements = true;
  double first = 0, last = 0;  ///< in elements
  double count = 1;
};
Reach reach_of(std::span<const std::int64_t> shape, std::span<const std::int64_t> strides);

/// Elements of the memory of each type.
inline constexpr std::int64_t kMemory = 1 << 17;

template <class T>
T* memory_of();

template <class T, std::size_t N>
TensorView<T, static_cast<int>(N)> Draws::view(const std::array<std::int64_t, N>& extents,
                                               double bytes) {
  TensorView<T, static_cast<int>(N)> view(memory_of<std::remove_const_t<T>>(), extents);
  for (std::int64_t& extent : view.shape) extent = number(extent);
  step(view.shape, view.strides);
  const std::int64_t place =
      std::is_const_v<T> ? kMemory / 4 + below(64) : outputs_++ % 8 * (kMemory / 8) + below(64);
  view.data += place;
  if (wrong()) view.data = nullptr;
  const Reach reach = reach_of(view.shape, view.strides);
  if (!reach.elements) return view;
  // Tensors beyond the address space must be refused, as must tensors without memory; the latter
  // replace others for which this program has no memory or time.
  const bool beyond = reach.last * bytes >= 0x1p60 || reach.first * bytes < -0x1p60;
  const bool inside = reach.first + static_cast<double>(place) >= 0 &&
                      reach.last + static_cast<double>(place) < static_cast<double>(kMemory);
  const bool endless = reach.count > 0x1p17 && reach.count <= 0x1p44;
  if (!beyond && (!inside || endless)) view.data = nullptr;
  return view;
}

template <class Void, std::size_t N>
TensorView<Void, static_cast<int>(N)> Draws::elements(const std::array<std::int64_t, N>& extents) {
  using Value = std::conditional_t<std::is_const_v<Void>, const float, float>;
  using Byte = std::conditional_t<std::is_const_v<Void>, const char, char>;
  TensorView<Void, static_cast<int>(N)> view = this->view<Value>(extents, 2);
  view.dtype = one_of({DType::f32, DType::f32, DType::bf16, DType::f16});
  bool wrong_place = false;
  if (wrong() && view.data != nullptr) {
    wrong_place = true;
    view.data = static_cast<Byte*>(view.data) + 1;
  }
  const bool wrong_type =
      view.dtype != DType::f32 && view.dtype != DType::bf16 && view.dtype != DType::f16;
  unfit_ |= (wrong_type || wrong_place) && reach_of(view.shape, view.strides).elements;
  return view;
}

template <class T>
std::span<const T> Draws::span(std::int64_t length) {
  const std::int64_t drawn = wrong() ? below(12) : length;
  if (drawn < 0 || drawn > kMemory / 2) return {};
  return {memory_of<T>() + below(64), static_cast<std::size_t>(drawn)};
}

template <class Next>
std::span<const std::int64_t> Draws::numbers(std::int64_t length, Next next) {
  const std::int64_t drawn = wrong() ? below(6) : length;
  std::vector<std::int64_t>& values = numbers_.emplace_back();
  for (std::int64_t i = 0; i < drawn && i < 4096; ++i) values.push_back(next());
  return values;
}

}  // namespace rapt::test
