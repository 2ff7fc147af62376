// Helpers for the workloads' inputs: extents, copies beyond the caches, options.
#pragma once

#include "measure/float_buffer.hpp"
#include "measure/workload.hpp"
#include "rapt/attention.hpp"

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

namespace rapt::tools {

inline double product(std::initializer_list<std::int64_t> extents) {
  double value = 1.0;
  for (const std::int64_t extent : extents) value *= static_cast<double>(extent);
  return value;
}

/// Copies of `bytes` that exceed the caches four times, within 2 GiB and a quarter of the memory.
int copies_beyond(double bytes, std::int64_t cache_bytes);

/// The options of a shape, with the memory that they refer to.
class WorkOptions {
 public:
  /// Throws Error{out_of_memory} before allocating more than is available.
  explicit WorkOptions(const WorkShape& shape);
  WorkOptions(const WorkOptions&) = delete;
  WorkOptions& operator=(const WorkOptions&) = delete;
  const AttentionOptions& get() const { return options_; }

 private:
  void add_bias(const WorkShape& shape);
  void add_mask(const WorkShape& shape);

  std::vector<float> slopes_;
  FloatBuffer bias_;
  FloatBuffer mask_;  // four bools per float, for pages as the other inputs have
  AttentionOptions options_;
};

/// One call of attention() on tensors, and over a KvCache.
std::unique_ptr<Workload> make_attention_work(const WorkShape& shape, std::int64_t cache_bytes);
std::unique_ptr<Workload> make_cached_work(const WorkShape& shape, std::int64_t cache_bytes);

}  // namespace rapt::tools
