// Memory between two inaccessible pages: reading or writing one element too far crashes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace rapt::test {

/// `count` elements that end, or start, exactly at an inaccessible page.
template <class T>
class GuardedBuffer {
 public:
  enum class At { end, start };

  GuardedBuffer(std::size_t count, At at) : count_(count) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t inner =
        std::max((count * sizeof(T) + page - 1) / page, std::size_t{1}) * page;
    // Views may cover more than is read, as the last page of a cache does: keep that memory
    // inaccessible too.
    const std::size_t forbidden = std::max(page, std::size_t{64} << 10);
    bytes_ = inner + 2 * forbidden;
    base_ = mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    char* const first = static_cast<char*>(base_) + forbidden;
    if (mprotect(first, inner, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    data_ = reinterpret_cast<T*>(at == At::end ? first + inner - count * sizeof(T) : first);
  }
  ~GuardedBuffer() {
    if (base_ != nullptr) munmap(base_, bytes_);
  }
  GuardedBuffer(GuardedBuffer&& from) noexcept
      : count_(from.count_),
        bytes_(from.bytes_),
        base_(std::exchange(from.base_, nullptr)),
        data_(from.data_) {}
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  T* data() const { return data_; }
  T* begin() const { return data_; }
  T* end() const { return data_ + count_; }

 private:
  std::size_t count_;
  std::size_t bytes_ = 0;
  void* base_ = nullptr;
  T* data_ = nullptr;
};

}  // namespace rapt::test
