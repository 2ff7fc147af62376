#include "allocation_hooks.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace rapt::test {

std::atomic<std::int64_t> allocations{0};
std::atomic<std::int64_t> live_allocations{0};

namespace {

std::atomic<std::int64_t> until_failure{0};

__attribute__((noinline)) void* allocate(std::size_t size, std::size_t alignment) noexcept {
  ++allocations;
  if (until_failure.fetch_sub(1) == 1) return nullptr;
  ++live_allocations;
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
  void* const memory = allocate(size > 0 ? size : 1, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// Not inline: GCC warns where it sees memory from new go to free().
__attribute__((noinline)) void release(void* memory) noexcept {
  if (memory != nullptr) --live_allocations;
  std::free(memory);
}

constexpr std::size_t kDefault = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace

void fail_allocation(std::int64_t n) { until_failure = n; }

}  // namespace rapt::test

// The forms that are not replaced call these.
void* operator new(std::size_t size) {
  return rapt::test::allocate_or_throw(size, rapt::test::kDefault);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return rapt::test::allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { rapt::test::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { rapt::test::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { rapt::test::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  rapt::test::release(memory);
}
