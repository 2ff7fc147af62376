// Sets the floating-point mode of the specification for the duration of a call: rounding to
// nearest, subnormals respected. The caller's mode is restored at the end of the scope.
#pragma once

#include <cstdint>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace rapt::core {

/// Exception flags stay raised, and the caller's choice of exceptions that trap stays in effect.
class DefaultArithmetic {
 public:
  DefaultArithmetic() noexcept : caller_(control()) {
    if ((caller_ & kModes) != 0) [[unlikely]]
      set_control(caller_ & ~kModes);
  }
  ~DefaultArithmetic() {
    if ((caller_ & kModes) != 0) [[unlikely]]
      set_control((control() & ~kModes) | (caller_ & kModes));
  }
  DefaultArithmetic(const DefaultArithmetic&) = delete;
  DefaultArithmetic& operator=(const DefaultArithmetic&) = delete;

 private:
#if defined(__x86_64__)
  using Control = std::uint32_t;
  // Flush to zero, the direction of rounding, subnormal operands as zeros.
  static constexpr Control kModes = 0x8000u | 0x6000u | 0x0040u;
  static Control control() noexcept { return _mm_getcsr(); }
  static void set_control(Control value) noexcept { _mm_setcsr(value); }
#elif defined(__aarch64__)
  using Control = std::uint64_t;
  // AHP, DN, FZ, RMode and FZ16; of Armv8.7 also NEP, AH and FIZ.
  static constexpr Control kModes = 0x07c80007u;
  static Control control() noexcept {
    Control value = 0;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void set_control(Control value) noexcept {
    asm volatile("msr fpcr, %0" : : "r"(value) : "memory");
  }
#else
  using Control = std::uint32_t;
  static constexpr Control kModes = 0;
  static Control control() noexcept { return 0; }
  static void set_control(Control) noexcept {}
#endif

  Control caller_;
};

}  // namespace rapt::core
