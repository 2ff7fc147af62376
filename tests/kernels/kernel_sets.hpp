// Shared by tests of single kernels: every kernel set that runs here, its operands, and indices.
#pragma once

#include "dispatch/dispatch.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "rapt/isa.hpp"
#include "support/guarded_operand.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>

namespace rapt::test {

inline std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

/// Calls check(kernels) for every ISA that runs here, with its name in the message.
template <class Check>
void on_every_kernel_set(const Check& check) {
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    check(dispatch::kernels_of(isa));
  }
}

/// Calls check(kernels, draws) with each of the seeds up to `seeds`, with operands that end and
/// that begin at an inaccessible page.
template <class Check>
void on_guarded_operands(int seeds, const Check& check) {
  on_every_kernel_set([&](const kernels::KernelSet& kernels) {
    for (int seed = 1; seed <= seeds; ++seed) {
      for (const auto at : {OperandDraws::At::end, OperandDraws::At::start}) {
        CAPTURE(seed);
        OperandDraws draws(static_cast<std::uint64_t>(seed), at);
        check(kernels, draws);
      }
    }
  });
}

/// The offset of element (r, k) of a row tile.
inline std::int64_t in_tile(const kernels::KernelSet& kernels, std::int64_t r, std::int64_t k) {
  return (k / kernels::kLanes * kernels.tiles.rows + r) * kernels::kLanes + k % kernels::kLanes;
}

/// Floats up to the last element of `rows` rows of a row tile of that depth.
inline std::int64_t tile_end(const kernels::KernelSet& kernels, std::int64_t rows,
                             std::int64_t depth) {
  return in_tile(kernels, rows - 1, depth - 1) + 1;
}

/// Numbers for the elements [begin, end) of `rows` rows of a row tile, and memory no longer.
inline GuardedOperand drawn_tile(const kernels::KernelSet& kernels, OperandDraws& draws,
                                 std::int64_t rows, std::int64_t begin, std::int64_t end) {
  GuardedOperand tile = draws.operand(tile_end(kernels, rows, end));
  const Numbers kind = draws.numbers();
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t k = begin; k < end; ++k) {
      tile[in_tile(kernels, r, k)] = draws.number(kind);
    }
  }
  return tile;
}

}  // namespace rapt::test
