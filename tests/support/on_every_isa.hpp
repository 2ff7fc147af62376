// Runs checks on every ISA, with one thread and with more.
#pragma once

#include "rapt/isa.hpp"
#include "support/arena.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>

#include <initializer_list>

namespace rapt::test {

/// Calls check() on every ISA with each of these thread counts.
template <class Check>
void on_every_isa(std::initializer_list<int> thread_counts, const Check& check) {
  for (const Isa isa : available_isas()) {
    for (const int threads : thread_counts) {
      CAPTURE(isa_name(isa));
      CAPTURE(threads);
      const ForcedIsa forced(isa);
      in_arena(threads, [&] { check(); });
    }
  }
}

/// on_every_isa() with 1 and with 2 threads.
template <class Check>
void on_every_isa(const Check& check) {
  on_every_isa({1, 2}, check);
}

}  // namespace rapt::test
