// A hash of bits, short enough to be compared by eye.
#pragma once

#include <span>
#include <string>

namespace rapt::tools {

/// FNV-1a with 64 bits over the bytes of `values`, as 16 hexadecimal digits: equal hashes indicate
/// equal bits.
std::string hash_of(std::span<const float> values);

}  // namespace rapt::tools
