// Shared by tests of single kernels: every kernel set that runs here, and indices.
#pragma once

#include "dispatch/dispatch.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "rapt/isa.hpp"

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

}  // namespace rapt::test
