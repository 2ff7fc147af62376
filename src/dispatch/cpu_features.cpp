// CPU features from the compiler's run-time library, which reads CPUID and the register state that
// the system saves.
#include "dispatch/cpu_features.hpp"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace rapt::dispatch {

bool cpu_has_scalar() noexcept { return true; }

#if defined(__x86_64__)

namespace {

/// Conversions of binary16, which clang 14's __builtin_cpu_supports does not know. Their registers
/// are AVX's.
bool cpuid_has_f16c() noexcept {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

}  // namespace

// __builtin_cpu_supports reads XCR0 as well as CPUID: a feature whose registers the operating
// system does not save counts as absent.
bool cpu_has_avx2() noexcept {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         cpuid_has_f16c();
}

bool cpu_has_avx512() noexcept {
  return cpu_has_avx2() && __builtin_cpu_supports("avx512f") != 0 &&
         __builtin_cpu_supports("avx512cd") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
}

#endif

#if defined(__aarch64__)

bool cpu_has_neon() noexcept {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMD) != 0;
#else
  return true;
#endif
}

#endif

}  // namespace rapt::dispatch
