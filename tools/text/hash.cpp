// FNV-1a: short, and dependent on every byte.
#include "text/hash.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>

namespace rapt::tools {

std::string hash_of(std::span<const float> values) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::byte byte : std::as_bytes(values)) {
    hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3u;
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace rapt::tools
