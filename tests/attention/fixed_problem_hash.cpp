// The hash of the committed table: FNV-1a over bit patterns, the same on every machine.
#include "attention/fixed_problems.hpp"

#include <bit>
#include <cstdint>
#include <span>
#include <string>

namespace rapt::test {
namespace {

class Fnv1a {
 public:
  void add(unsigned char byte) { value_ = (value_ ^ byte) * 0x100000001b3u; }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

}  // namespace

std::uint64_t hash_bits(std::span<const float> values) {
  Fnv1a hash;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) {
      hash.add(static_cast<unsigned char>((bits >> shift) & 0xffu));
    }
  }
  return hash.value();
}

std::uint64_t hash_text(const std::string& text) {
  Fnv1a hash;
  for (const char letter : text) hash.add(static_cast<unsigned char>(letter));
  return hash.value();
}

}  // namespace rapt::test
