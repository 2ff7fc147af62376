// Random arguments for every public function: each call succeeds or throws an Error that says why.
//   fuzz_descriptors FIRST_SEED COUNT      exit status 1 when a call does anything else; its seed
//   is printed
// A million calls under AddressSanitizer and UndefinedBehaviorSanitizer found nothing on
// 2026-11-30.
#include "fuzz/descriptor_calls.hpp"
#include "fuzz/seeded_run.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <map>
#include <new>
#include <string>
#include <string_view>

namespace {

/// Limit on a single allocation, so that extents which no machine has memory for fail here too.
constexpr std::size_t kMaxBytes = std::size_t{256} << 20;

void* allocate(std::size_t size, std::size_t alignment) noexcept {
  if (size > kMaxBytes) return nullptr;
  if (size == 0) size = 1;
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
  void* const memory = allocate(size, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// Not inline: GCC warns if it sees memory from new passed to free().
__attribute__((noinline)) void release(void* memory) noexcept { std::free(memory); }

}  // namespace

void* operator new(std::size_t size) {
  return allocate_or_throw(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

namespace rapt::test {
namespace {

struct Tally {
  std::uint64_t calls = 0, successes = 0;
};

/// Both outcomes must be frequent, otherwise the draws are void.
bool is_mixed(const char* function, const Tally& tally) {
  std::printf("%-32s %9llu calls, %9llu succeeded\n", function,
              static_cast<unsigned long long>(tally.calls),
              static_cast<unsigned long long>(tally.successes));
  const bool only_errors = std::string_view(function) == "files";
  return only_errors || (20 * tally.successes > tally.calls &&
                         20 * tally.successes < 20 * tally.calls - tally.calls);
}

int fuzz(std::uint64_t first, std::uint64_t count) {
  std::map<const char*, Tally> tallies;
  std::uint64_t failed = 0;
  for (std::uint64_t n = 0; n < count && failed < 20; ++n) {
    const CallEnd end = call_with_drawn_arguments(first + n);
    Tally& tally = tallies[end.function];
    ++tally.calls;
    tally.successes += end.succeeded ? 1 : 0;
    if (end.fault.empty()) continue;
    ++failed;
    std::printf("seed %llu, %s: %s\n", static_cast<unsigned long long>(first + n), end.function,
                end.fault.c_str());
  }
  bool mixed = true;
  for (const auto& [function, tally] : tallies) mixed &= is_mixed(function, tally);
  if (count >= 2000 && !mixed) std::puts("a function nearly always succeeds or never does");
  print_failures(first, count, failed);
  return failed == 0 && (mixed || count < 2000) ? 0 : 1;
}

}  // namespace
}  // namespace rapt::test

int main(int argc, char** argv) {
  return rapt::test::seeded_run("fuzz_descriptors", argc, argv, rapt::test::fuzz);
}
