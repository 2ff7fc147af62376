// Pages of one size: allocated in large blocks, lent to sequences, reference-counted while shared.
#pragma once

#include "core/aligned_buffer.hpp"

#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <vector>

namespace rapt {

/// A page of floats. The holder of the only reference may write; if all holders append in one call,
/// the longest of them may (growth.cpp).
struct Page {
  float* floats;
  std::int64_t references = 0;
};

/// Thread-safe. Every call that throws leaves the pool unchanged.
class PagePool {
 public:
  /// max_pages: 0 for no limit.
  PagePool(std::int64_t page_floats, std::int64_t max_pages)
      : page_floats_(page_floats), max_pages_(max_pages) {}

  /// Takes `count` pages, each with one reference, and returns the references to `released`, whose
  /// pages may be among those taken. Throws Error{cache_full} or Error{out_of_memory}.
  std::vector<Page*> exchange(std::int64_t count, std::span<Page* const> released);
  /// Throws what exchange() would if the budget is exceeded, so that no tables larger than the
  /// budget are prepared.
  void check_room(std::int64_t count, std::span<Page* const> released) const;
  void share(std::span<Page* const> pages);
  void release(std::span<Page* const> pages);
  std::int64_t references(const Page& page) const;

  /// Allocates until `count` pages are free.
  void reserve(std::int64_t count);

  std::int64_t used() const;
  std::int64_t free() const;

 private:
  void check_budget(std::int64_t count, std::int64_t available) const;
  std::int64_t available(std::span<Page* const> released) const;
  void grow(std::int64_t count);
  void release_locked(std::span<Page* const> pages) noexcept;
  static std::int64_t freed_by(std::span<Page* const> released) noexcept;

  std::int64_t page_floats_, max_pages_;
  mutable std::mutex mutex_;
  std::vector<AlignedBuffer> slabs_;
  std::deque<Page> pages_;
  std::vector<Page*> free_;  // with capacity for all pages
};

}  // namespace rapt
