// Pages of one size: allocated once, many side by side, lent to sequences, counted while several
// share one.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <vector>

#include "core/aligned_buffer.hpp"

namespace rapt {

/// A page of floats. Who has the only reference may write; and of those who together have all of
/// them, when all append, the longest may (growth.cpp).
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

  /// Takes `count` pages, each with one reference, and gives back the references to `released`,
  /// whose pages may be among those taken. Throws Error{cache_full} or Error{out_of_memory}.
  std::vector<Page*> exchange(std::int64_t count, std::span<Page* const> released);
  /// Throws what exchange() would for want of room in the budget, so that nothing larger than the
  /// budget is prepared for.
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
