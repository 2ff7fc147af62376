// A fixed list of seeded problems whose outputs have the same bits on every machine: for the table
// of hashes that ties all ISAs, compilers and machines to one answer.
#pragma once

#include "rapt/isa.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace rapt::test {

/// What computes: the library on one ISA, or the scalar statement of the arithmetic (`statement`).
struct Engine {
  std::string name;
  bool statement = false;
  Isa isa = Isa::scalar;  ///< of no meaning for the scalar statement
};

/// One problem. Its inputs follow from its name alone, so that the order of the list is free.
struct FixedProblem {
  std::string name;                                        ///< without blanks
  std::function<std::vector<float>(const Engine&)> solve;  ///< every output, one after the other
};

/// The list, in the order of the table. Names are unique.
std::vector<FixedProblem> fixed_problems();

/// FNV-1a, 64 bits, over the bytes of the floats' bit patterns, lowest byte first.
std::uint64_t hash_bits(std::span<const float> values);

/// The same over the bytes of a text: the seed that belongs to a name.
std::uint64_t hash_text(const std::string& text);

}  // namespace rapt::test
