// All 2^32 floats rounded to bf16 and f16: the public types against a search for the nearest, and
// the kernels of every ISA against the public types. Takes half a minute.
#include "dispatch/dispatch.hpp"
#include "dispatch/element_type.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "rapt/isa.hpp"
#include "support/rounding.hpp"
#include "support/typed.hpp"

#include <bit>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::uint64_t kInfinity = 0x7f800000, kChunk = 1 << 16;

/// Floats of the sign 0 and 1 that the type rounds to another pattern than the nearest.
std::uint64_t count_misrounded(DType type) {
  const Patterns patterns(type);
  std::uint64_t wrong = 0;
  std::uint32_t below = 0;  // ascends with the magnitudes
  for (std::uint32_t magnitude = 0; magnitude < 0x80000000u; ++magnitude) {
    std::uint32_t want = patterns.nan(), of_negative = want;
    if (magnitude <= kInfinity) {
      const double x{std::bit_cast<float>(magnitude)};
      while (below < patterns.infinity() && patterns.value(below + 1) <= x) ++below;
      want = patterns.nearest(x, below);
      of_negative = want | 0x8000u;
    }
    wrong += narrow_bits(std::bit_cast<float>(magnitude), type) != want ? 1 : 0;
    wrong +=
        narrow_bits(std::bit_cast<float>(magnitude | 0x80000000u), type) != of_negative ? 1 : 0;
  }
  return wrong;
}

/// Floats that some ISA rounds to another pattern than the type.
std::uint64_t count_differing(DType type) {
  std::vector<float> from(kChunk);
  std::vector<std::uint16_t> want(kChunk), got(kChunk);
  std::uint64_t wrong = 0;
  for (std::uint64_t first = 0; first < std::uint64_t{1} << 32; first += kChunk) {
    for (std::uint64_t i = 0; i < kChunk; ++i) {
      from[i] = std::bit_cast<float>(static_cast<std::uint32_t>(first + i));
      want[i] = narrow_bits(from[i], type);
    }
    for (const Isa isa : available_isas()) {
      dispatch::kernels_of(isa).narrow({.from = from.data(),
                                        .from_stride = 0,
                                        .to = got.data(),
                                        .to_stride = 0,
                                        .rows = 1,
                                        .width = kChunk,
                                        .type = element_type(type)});
      if (got == want) continue;
      for (std::uint64_t i = 0; i < kChunk; ++i) wrong += got[i] != want[i] ? 1 : 0;
    }
  }
  return wrong;
}

}  // namespace
}  // namespace rapt::test

int main() {
  using rapt::DType;
  std::uint64_t wrong = 0;
  for (const DType type : {DType::bf16, DType::f16}) {
    const std::uint64_t misrounded = rapt::test::count_misrounded(type);
    const std::uint64_t differing = rapt::test::count_differing(type);
    std::printf("%s: of 2^32 floats %llu are not rounded to the nearest, %llu differ on an ISA\n",
                std::string(rapt::dtype_name(type)).c_str(),
                static_cast<unsigned long long>(misrounded),
                static_cast<unsigned long long>(differing));
    wrong += misrounded + differing;
  }
  return wrong == 0 ? 0 : 1;
}
