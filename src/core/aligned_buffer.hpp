// A growable buffer of floats on cache-line borders, never initialised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include "rapt/error.hpp"

namespace rapt {

/// Memory that only grows: after the largest call has been seen, later calls allocate nothing.
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

  /// Room for at least `floats` floats, aligned to kAlignment bytes; the contents are lost when it
  /// grows. Throws Error{out_of_memory}, and then holds nothing.
  float* reserve(std::int64_t floats) {
    if (floats <= capacity_) return data_;
    release();
    constexpr std::int64_t kMost = INT64_MAX / static_cast<std::int64_t>(sizeof(float));
    void* memory = floats > kMost
                       ? nullptr
                       : ::operator new (static_cast<std::size_t>(floats) * sizeof(float),
                                         std::align_val_t{kAlignment}, std::nothrow);
    if (memory == nullptr) {
      throw Error(ErrorCode::out_of_memory,
                  "workspace: no memory for " + std::to_string(floats) + " floats");
    }
    data_ = static_cast<float*>(memory);
    capacity_ = floats;
    return data_;
  }

  float* data() noexcept { return data_; }
  const float* data() const noexcept { return data_; }

 private:
  static constexpr std::size_t kAlignment = 64;

  void release() noexcept {
    ::operator delete (data_, std::align_val_t{kAlignment});
    data_ = nullptr;
    capacity_ = 0;
  }

  float* data_ = nullptr;
  std::int64_t capacity_ = 0;
};

}  // namespace rapt
