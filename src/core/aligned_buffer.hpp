// A growable buffer of floats aligned to cache lines, never initialised; large ones in huge pages.
#pragma once

#include "core/counted.hpp"
#include "core/out_of_memory.hpp"
#include "rapt/error.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace rapt {

/// Null when there is no memory. Freed with the same size.
void* allocate_aligned(std::size_t bytes) noexcept;
void free_aligned(void* memory, std::size_t bytes) noexcept;

/// A hook for tests, applied to the memory that reserve() returns: no result may depend on its old
/// contents. Null in all other programs.
extern void (*spoil_reserved)(float* memory, std::int64_t floats);

/// Memory that only grows: after the largest call, later calls allocate nothing.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::int64_t floats) { reserve(floats); }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~AlignedBuffer() { release(); }

  /// Room for at least `floats` floats, aligned to a cache line or, from 2 MiB on, to 2 MiB with
  /// huge pages requested, which one core reads up to 1.7 times as fast as pages of 4 KiB
  /// (docs/performance.md). The contents are lost when it grows. Throws Error{out_of_memory}, and
  /// is then empty.
  float* reserve(std::int64_t floats) {
    if (floats > capacity_) grow(floats);
    if (spoil_reserved != nullptr) spoil_reserved(data_, floats);
    return data_;
  }

  float* data() noexcept { return data_; }
  const float* data() const noexcept { return data_; }

 private:
  void grow(std::int64_t floats) {
    release();
    constexpr std::int64_t kMax = INT64_MAX / static_cast<std::int64_t>(sizeof(float));
    void* const memory = floats > kMax
                             ? nullptr
                             : allocate_aligned(static_cast<std::size_t>(floats) * sizeof(float));
    if (memory == nullptr) {
      core::or_out_of_memory([floats] {
        throw Error(ErrorCode::out_of_memory,
                    "workspace: no memory for " + core::counted(floats, "float"));
      });
    }
    data_ = static_cast<float*>(memory);
    capacity_ = floats;
  }

  void release() noexcept {
    if (data_ != nullptr) {
      free_aligned(data_, static_cast<std::size_t>(capacity_) * sizeof(float));
    }
    data_ = nullptr;
    capacity_ = 0;
  }

  float* data_ = nullptr;
  std::int64_t capacity_ = 0;
};

}  // namespace rapt
