// What a KvCache consists of: its sequences, each a table of pages.
#pragma once

#include "attention/pages.hpp"
#include "cache/page_pool.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "rapt/kv_cache.hpp"

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

namespace rapt {

/// Token t is in pages[t / page_tokens]. Pages before first_page are outside the window and were
/// freed.
struct CachedSequence {
  std::int64_t length = 0;
  std::int64_t first_page = 0;
  std::vector<Page*> pages;
  std::vector<const void*> table;  ///< the pages' elements, for the kernels; null if freed
};

class CacheStore {
 public:
  explicit CacheStore(const KvCacheConfig& config);

  /// Throws Error{invalid_argument} for an unknown number.
  CachedSequence& find(std::int64_t sequence) const;
  std::int64_t insert(std::unique_ptr<CachedSequence> sequence);
  void erase(std::int64_t sequence);
  void clear();
  std::int64_t count() const;

  const KvCacheConfig config;
  const PageLayout layout;
  const std::int64_t page_floats;
  PagePool pool;

 private:
  mutable std::shared_mutex mutex_;  // guards the table, not the contents of the sequences
  std::unordered_map<std::int64_t, std::unique_ptr<CachedSequence>> sequences_;
  std::int64_t next_ = 0;
};

/// The error of a vector of pages or sequences that could not grow.
[[noreturn]] void fail_for_tables();

/// Copies n tokens of k [n, kv_heads, head_dim] and v, starting at `token`, to the rows of a page
/// starting at `row`.
void write_page(const kernels::KernelSet& kernels, const PageLayout& layout,
                TensorView<const void, 3> k, TensorView<const void, 3> v, std::int64_t token,
                std::int64_t row, std::int64_t n, float* page);

}  // namespace rapt
