// The caller's floating-point flags and traps: on ordinary data no operation is invalid, divides by
// zero or overflows, whatever buffers contained before.
#include "core/aligned_buffer.hpp"
#include "process/ordinary_calls.hpp"
#include "rapt/isa.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_scheduler_observer.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cfenv>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <string>

namespace rapt::test {
namespace {

constexpr int kRefused = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW;

template <std::uint32_t kBits>
void spoil(float* memory, std::int64_t floats) {
  std::fill_n(reinterpret_cast<std::uint32_t*>(memory), floats, kBits);
}

/// While it exists, buffers are filled with this value when they are handed out.
template <std::uint32_t kBits>
class SpoiltWorkspaces {
 public:
  SpoiltWorkspaces() { spoil_reserved = spoil<kBits>; }
  ~SpoiltWorkspaces() { spoil_reserved = nullptr; }
  SpoiltWorkspaces(const SpoiltWorkspaces&) = delete;
  SpoiltWorkspaces& operator=(const SpoiltWorkspaces&) = delete;

  /// Fills the stack below the caller.
  __attribute__((noinline)) static void spoil_stack() {
    std::uint32_t memory[16 * 1024];
    std::fill(std::begin(memory), std::end(memory), kBits);
    asm volatile("" : : "r"(memory) : "memory");
  }
};

// Any arithmetic on the first is invalid; the others overflow, or are invalid in combination.
constexpr std::uint32_t kSignallingNan = 0x7fa00000u;
constexpr std::uint32_t kMax = std::bit_cast<std::uint32_t>(std::numeric_limits<float>::max());
constexpr std::uint32_t kMinusInfinity = 0xff800000u;

std::string names_of(int flags) {
  std::string names;
  if ((flags & FE_INVALID) != 0) names += " invalid";
  if ((flags & FE_DIVBYZERO) != 0) names += " divbyzero";
  if ((flags & FE_OVERFLOW) != 0) names += " overflow";
  return names;
}

/// Makes all calls with a plan for several threads, but on this thread only, so that it sees their
/// flags.
template <std::uint32_t kBits>
void check_flags(int threads) {
  // All slots of the arena are reserved for external threads, and there is only one.
  tbb::task_arena(threads, static_cast<unsigned>(threads)).execute([&] {
    REQUIRE(tbb::this_task_arena::max_concurrency() == threads);
    const SpoiltWorkspaces<kBits> spoilt;
    visit_ordinary_calls([&](const std::string& what, const std::function<void()>& call) {
      spoilt.spoil_stack();
      std::feclearexcept(FE_ALL_EXCEPT);
      call();
      const int raised = std::fetestexcept(kRefused);
      CHECK_MESSAGE(raised == 0, "raises", names_of(raised), ": ", what);
    });
  });
}

#if defined(__GLIBC__)
/// Traps in the calling thread while it exists. Not every processor has them.
class Traps {
 public:
  Traps() {
    std::feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(kRefused);
  }
  ~Traps() {
    std::feclearexcept(FE_ALL_EXCEPT);
    fedisableexcept(kRefused);
  }
  Traps(const Traps&) = delete;
  Traps& operator=(const Traps&) = delete;
};

/// Traps in the threads of an arena while they work in it.
class TrapsInArena : public tbb::task_scheduler_observer {
 public:
  explicit TrapsInArena(tbb::task_arena& arena) : tbb::task_scheduler_observer(arena) {
    observe(true);
  }
  ~TrapsInArena() override { observe(false); }
  TrapsInArena(const TrapsInArena&) = delete;
  TrapsInArena& operator=(const TrapsInArena&) = delete;

  void on_scheduler_entry(bool) override {
    std::feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(kRefused);
  }
  void on_scheduler_exit(bool) override {
    std::feclearexcept(FE_ALL_EXCEPT);
    fedisableexcept(kRefused);
  }
};
#endif

}  // namespace

TEST_CASE("ordinary data raise no floating-point flag, whatever buffers contained before") {
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    check_flags<kSignallingNan>(1);
    check_flags<kSignallingNan>(5);
    check_flags<kMax>(1);
    check_flags<kMinusInfinity>(5);
  }
}

#if defined(__GLIBC__)
TEST_CASE("ordinary data trap in no thread of a program that enables traps") {
  const bool can_trap = [] {
    const Traps traps;
    return fegetexcept() == kRefused;
  }();
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    const tbb::global_control allow(tbb::global_control::max_allowed_parallelism, 4);
    const Traps traps;  // an arena's threads start with the settings of the thread that created it
    tbb::task_arena arena(4);
    const TrapsInArena in_arena(arena);
    arena.execute([&] {
      const SpoiltWorkspaces<kSignallingNan> spoilt;
      visit_ordinary_calls([&](const std::string& what, const std::function<void()>& call) {
        CAPTURE(what);  // a trap ends the program: this tells where
        spoilt.spoil_stack();
        call();
      });
      std::atomic<int> without{0};
      tbb::parallel_for(0, 1000, [&](int) { without += fegetexcept() == kRefused ? 0 : 1; });
      CHECK(without == (can_trap ? 0 : 1000));
    });
  }
}
#endif

}  // namespace rapt::test
