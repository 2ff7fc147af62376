#include "fuzz/descriptor_draws.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace rapt::test {
namespace {

/// Floats, some not finite; ids and positions, some invalid; bools.
template <class T>
std::vector<T> make_memory() {
  Random random(1);
  std::vector<T> memory(kMemory);
  for (T& x : memory) {
    if constexpr (std::is_same_v<T, float>) {
      x = random.below(5000) == 0 ? INFINITY : random.below(5000) == 0 ? NAN : random.normal();
    } else {
      x = static_cast<T>(random.below(600) == 0 ? kMinInt : random.below(3));
    }
  }
  return memory;
}

struct Byte {
  bool value;
};

}  // namespace

template <class T>
T* memory_of() {
  static std::vector<T> memory = make_memory<T>();
  return memory.data();
}
template float* memory_of();
template std::int64_t* memory_of();
template std::int32_t* memory_of();

template <>
bool* memory_of() {
  static std::vector<Byte> memory = [] {
    Random random(2);
    std::vector<Byte> bytes(kMemory);
    for (Byte& byte : bytes) byte.value = random.below(2) == 0;
    return bytes;
  }();
  return &memory.data()->value;
}

Draws::Draws(std::uint64_t seed) : random_(seed) {
  constexpr std::array<std::int64_t, 4> kRates{0, 10, 40, 200};
  wrong_per_mille_ = kRates[static_cast<std::size_t>(below(4))];
}

std::int64_t Draws::extreme() {
  constexpr std::int64_t kOne = 1;
  constexpr std::array kNumbers{
      std::int64_t{0},  kOne,        -kOne,         kOne << 31,       (kOne << 32) + 1, kOne << 40,
      (kOne << 40) + 1, kOne << 44,  kOne << 62,    (kOne << 62) + 1, kMaxInt,          kMaxInt - 1,
      kMinInt,          kMinInt + 1, -(kOne << 40), -(kOne << 62)};
  const auto n = static_cast<std::size_t>(below(static_cast<std::int64_t>(kNumbers.size()) + 6));
  return n < kNumbers.size() ? kNumbers[n] : below(40) - 8;
}

std::int64_t Draws::extreme_count() {
  const std::int64_t x = extreme();
  return x > 300 && x <= std::int64_t{1} << 40 ? x + (std::int64_t{1} << 40) : x;
}

float Draws::extreme_float() {
  constexpr std::array kNumbers{0.0f,   -0.0f,    1.0f,      -1.0f, 0x1p-149f, 3e38f,
                                -3e38f, INFINITY, -INFINITY, NAN,   1e30f,     -2.5f};
  return kNumbers[static_cast<std::size_t>(below(static_cast<std::int64_t>(kNumbers.size())))];
}

double Draws::wide_real(double right) {
  if (!wrong()) return right;
  constexpr std::array kNumbers{0.0, -1.0, 1.0, 1.0 + 0x1p-52, 1e-300, 1e300, 1e308, 0x1p100, 2.5};
  const auto n = static_cast<std::size_t>(below(static_cast<std::int64_t>(kNumbers.size()) + 3));
  return n < kNumbers.size() ? kNumbers[n] : static_cast<double>(extreme_float());
}

std::span<const std::int64_t> Draws::offsets(std::int64_t sequences, std::int64_t rows) {
  std::vector<std::int64_t> cuts;
  for (std::int64_t s = 0; s <= sequences; ++s) cuts.push_back(rows > 0 ? below(rows + 1) : 0);
  std::sort(cuts.begin(), cuts.end());
  std::size_t i = 0;
  return numbers(sequences + 1, [&] { return number(i < cuts.size() ? cuts[i++] : rows); });
}

/// Strides of a layout: dimensions in another order, padded, broadcast, backwards, or anything.
void Draws::step(std::span<const std::int64_t> shape, std::span<std::int64_t> strides) {
  const std::size_t rank = shape.size();
  if (rank > 2 && one_in(3)) {  // the dimensions before the last in another order
    std::vector<std::size_t> order(rank - 1);
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (std::size_t i = rank - 1; i-- > 1;)
      std::swap(order[i], order[static_cast<std::size_t>(below(static_cast<std::int64_t>(i) + 1))]);
    std::uint64_t stride =
        static_cast<std::uint64_t>(shape[rank - 1]) + static_cast<std::uint64_t>(below(2));
    for (const std::size_t i : order) {
      strides[i] = static_cast<std::int64_t>(stride);
      stride *= static_cast<std::uint64_t>(shape[i]);
    }
  }
  if (one_in(20)) {
    for (std::size_t i = 0; i + 1 < rank; ++i) strides[i] = 0;
  }
  for (std::int64_t& stride : strides) stride = number(stride);
}

Reach reach_of(std::span<const std::int64_t> shape, std::span<const std::int64_t> strides) {
  Reach reach;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] <= 0) return {.elements = false};
    const double steps = static_cast<double>(shape[i] - 1) * static_cast<double>(strides[i]);
    (steps < 0 ? reach.first : reach.last) += steps;
    reach.count *= static_cast<double>(shape[i]);
  }
  return reach;
}

}  // namespace rapt::test
