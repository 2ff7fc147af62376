// A fixed list of seeded problems whose outputs have the same bits on every machine, for the table
// of hashes that all ISAs, compilers and machines must reproduce.
#pragma once

#include "rapt/isa.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace rapt::test {

/// What computes a problem: the library on one ISA, or the scalar statement (`statement`).
struct Engine {
  std::string name;
  bool statement = false;
  Isa isa = Isa::scalar;  ///< unused by the scalar statement
};

/// One problem. Its name determines its inputs, so that the order of the list does not matter.
struct FixedProblem {
  std::string name;                                        ///< without blanks
  std::function<std::vector<float>(const Engine&)> solve;  ///< every output, concatenated
};

/// The problems of functions of rows (fixed_row_problems.cpp).
std::vector<FixedProblem> fixed_row_problems();

/// The problems of tensors and caches of other types (fixed_type_problems.cpp).
std::vector<FixedProblem> fixed_type_problems();

/// The problems of products and layers with elements of 16 bits (fixed_projection_problems.cpp).
std::vector<FixedProblem> fixed_projection_problems();

/// The list, in the order of the table. Names are unique.
std::vector<FixedProblem> fixed_problems();

/// FNV-1a, 64 bits, over the bytes of the floats' bit patterns, lowest byte first.
std::uint64_t hash_bits(std::span<const float> values);

/// FNV-1a over the bytes of a text: the seed of a name.
std::uint64_t hash_text(const std::string& text);

}  // namespace rapt::test
