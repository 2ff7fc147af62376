// Every ISA, with one thread and with two.
#pragma once

#include <doctest/doctest.h>

#include "arena.hpp"
#include "rapt/isa.hpp"

namespace rapt::test {

/// Calls check() on every ISA, with 1 and with 2 threads.
template <class Check>
void on_every_isa(const Check& check) {
  for (const Isa isa : available_isas()) {
    for (const int threads : {1, 2}) {
      CAPTURE(isa_name(isa));
      CAPTURE(threads);
      const ForcedIsa forced(isa);
      in_arena(threads, [&] { check(); });
    }
  }
}

}  // namespace rapt::test
