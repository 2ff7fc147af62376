// What this CPU and its operating system can run: one predicate per ISA.
#pragma once

namespace rapt::dispatch {

/// AVX2 and FMA, with the upper halves of the registers saved by the operating system.
bool cpu_has_avx2() noexcept;

/// AVX-512 F, CD, BW, DQ and VL on top of AVX2 and FMA, with its state saved by the operating
/// system.
bool cpu_has_avx512() noexcept;

/// Advanced SIMD.
bool cpu_has_neon() noexcept;

}  // namespace rapt::dispatch
