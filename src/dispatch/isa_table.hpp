// The instruction sets of this build, best first, from the list in src/kernels/meson.build. The
// choice of kernels, the tests and the tools all walk this table.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "rapt/isa.hpp"

#include <span>

namespace rapt::dispatch {

/// One compiled ISA: its kernels, and whether this CPU and its operating system can run them.
struct IsaRow {
  Isa isa;
  const kernels::KernelSet* kernels;
  bool (*runs_here)() noexcept;
};

/// Best first; the last row is `scalar`, which runs everywhere.
std::span<const IsaRow> isa_table() noexcept;

}  // namespace rapt::dispatch
