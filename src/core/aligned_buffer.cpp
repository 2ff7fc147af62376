#include "core/aligned_buffer.hpp"

#include <new>
#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

namespace rapt {

namespace {

constexpr std::size_t kCacheLine = 64, kHugePage = std::size_t{2} << 20;

std::align_val_t alignment_of(std::size_t bytes) {
  return std::align_val_t{bytes < kHugePage ? kCacheLine : kHugePage};
}

}  // namespace

void (*spoil_reserved)(float*, std::int64_t) = nullptr;

void* allocate_aligned(std::size_t bytes) noexcept {
  void* const memory = ::operator new(bytes, alignment_of(bytes), std::nothrow);
#ifdef MADV_HUGEPAGE
  // Best effort: without huge pages the memory is still usable.
  if (memory != nullptr && bytes >= kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

void free_aligned(void* memory, std::size_t bytes) noexcept {
  ::operator delete(memory, alignment_of(bytes));
}

}  // namespace rapt
