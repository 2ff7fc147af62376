// Floats aligned to a cache line, as in performance-critical applications, with their number.
#pragma once

#include "core/aligned_buffer.hpp"
#include "core/random.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace rapt::tools {

/// `size` floats, not initialised. Throws Error{out_of_memory}.
class FloatBuffer {
 public:
  FloatBuffer() = default;
  explicit FloatBuffer(std::size_t size) : memory_(static_cast<std::int64_t>(size)), size_(size) {}

  float* data() { return memory_.data(); }
  const float* data() const { return memory_.data(); }
  std::size_t size() const { return size_; }
  std::span<float> values() { return {memory_.data(), size_}; }
  std::span<const float> values() const { return {memory_.data(), size_}; }

 private:
  AlignedBuffer memory_;
  std::size_t size_ = 0;
};

/// `count` seeded values in [-factor, factor). Throws Error{out_of_memory}.
inline FloatBuffer drawn(double count, std::uint64_t seed, float factor = 1.0f) {
  FloatBuffer buffer(static_cast<std::size_t>(count));
  Random random(seed);
  for (float& value : buffer.values()) value = random.uniform() * factor;
  return buffer;
}

}  // namespace rapt::tools
