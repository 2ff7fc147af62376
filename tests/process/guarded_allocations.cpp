// The library's own buffers (workspaces, packed weights, pages of a cache), which come from
// operator new with an alignment, end at inaccessible memory pages.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <sys/mman.h>
#include <unistd.h>

namespace rapt::test {
namespace {

/// Stored directly before the memory.
struct Mapping {
  void* base;
  std::size_t bytes;
};

std::size_t rounded_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

/// `bytes`, rounded up to the alignment, ending at an inaccessible page. Null if there is no
/// memory.
void* allocate_guarded(std::size_t bytes, std::size_t alignment) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t border = std::max(page, alignment);
  const std::size_t used = rounded_up(std::max(bytes, std::size_t{1}), alignment);
  // Before it, space for the Mapping; after it, the inaccessible page; and padding for the
  // alignment.
  const std::size_t inner = rounded_up(used + alignment, border);
  const std::size_t mapped = inner + border + page;
  void* const base = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  const std::size_t skipped = rounded_up(reinterpret_cast<std::uintptr_t>(base), border) -
                              reinterpret_cast<std::uintptr_t>(base);
  char* const end = static_cast<char*>(base) + skipped + inner;
  if (mprotect(end, page, PROT_NONE) != 0) {
    munmap(base, mapped);
    return nullptr;
  }
  char* const memory = end - used;
  *reinterpret_cast<Mapping*>(memory - sizeof(Mapping)) = {base, mapped};
  return memory;
}

void release(void* memory) noexcept {
  if (memory == nullptr) return;
  const Mapping mapping = *reinterpret_cast<Mapping*>(static_cast<char*>(memory) - sizeof(Mapping));
  munmap(mapping.base, mapping.bytes);
}

}  // namespace
}  // namespace rapt::test

// The nothrow form calls this one.
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  void* const memory = rapt::test::allocate_guarded(bytes, static_cast<std::size_t>(alignment));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory, std::align_val_t) noexcept { rapt::test::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  rapt::test::release(memory);
}
