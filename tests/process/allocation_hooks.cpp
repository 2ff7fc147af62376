// malloc and its relatives replace those of glibc, so that allocations of other libraries are
// included: a pthread_setspecific() that needs memory, or a file's stream.
#include "process/allocation_hooks.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

extern "C" {
void* __libc_malloc(std::size_t);                 // NOLINT(bugprone-reserved-identifier): glibc's
void* __libc_calloc(std::size_t, std::size_t);    // NOLINT(bugprone-reserved-identifier)
void* __libc_realloc(void*, std::size_t);         // NOLINT(bugprone-reserved-identifier)
void* __libc_memalign(std::size_t, std::size_t);  // NOLINT(bugprone-reserved-identifier)
void __libc_free(void*);                          // NOLINT(bugprone-reserved-identifier)
}

namespace rapt::test {

constinit std::atomic<std::int64_t> allocations{0};
constinit std::atomic<std::int64_t> live_allocations{0};
constinit std::atomic<std::int64_t> failed_allocations{0};

namespace {

constinit std::atomic<std::int64_t> until_failure{0};
constinit std::atomic<bool> later_fail_too{false};

bool fails() noexcept {
  const std::int64_t left = until_failure.load(std::memory_order_relaxed);
  if (left == 0) return false;
  if (left > 1) {
    until_failure = left - 1;
    return false;
  }
  if (!later_fail_too) until_failure = 0;
  ++failed_allocations;
  errno = ENOMEM;
  return true;
}

void* counted(void* memory) noexcept {
  if (memory != nullptr) ++live_allocations;
  return memory;
}

void* allocate_or_throw(void* memory) {
  ++allocations;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// Not inline: GCC warns if it sees memory from new passed to free().
__attribute__((noinline)) void release(void* memory) noexcept { std::free(memory); }

void* aligned(std::size_t size, std::align_val_t alignment) {
  const auto to = static_cast<std::size_t>(alignment);
  return std::aligned_alloc(to, (size + to - 1) / to * to);
}

}  // namespace

void fail_allocation(std::int64_t n) {
  later_fail_too = false;
  until_failure = n;
}

void fail_allocations_from(std::int64_t n) {
  later_fail_too = true;
  until_failure = n;
}

}  // namespace rapt::test

extern "C" {
void* malloc(std::size_t size) {
  if (rapt::test::fails()) return nullptr;
  return rapt::test::counted(__libc_malloc(size));
}
void* calloc(std::size_t count, std::size_t size) {
  if (rapt::test::fails()) return nullptr;
  return rapt::test::counted(__libc_calloc(count, size));
}
void* realloc(void* memory, std::size_t size) {
  if (rapt::test::fails()) return nullptr;
  void* const moved = __libc_realloc(memory, size);
  if (memory == nullptr) rapt::test::counted(moved);
  if (memory != nullptr && size == 0) --rapt::test::live_allocations;
  return moved;
}
void* memalign(std::size_t alignment, std::size_t size) {
  if (rapt::test::fails()) return nullptr;
  return rapt::test::counted(__libc_memalign(alignment, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  *memory = memalign(alignment, size);
  return *memory != nullptr ? 0 : ENOMEM;
}
void free(void* memory) {
  if (memory != nullptr) --rapt::test::live_allocations;
  __libc_free(memory);
}
}

// The forms that are not replaced call these.
void* operator new(std::size_t size) {
  return rapt::test::allocate_or_throw(std::malloc(size > 0 ? size : 1));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return rapt::test::allocate_or_throw(rapt::test::aligned(size > 0 ? size : 1, alignment));
}
void operator delete(void* memory) noexcept { rapt::test::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { rapt::test::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { rapt::test::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  rapt::test::release(memory);
}
