#include "cache/page_pool.hpp"

#include "core/counted.hpp"
#include "core/tuning.hpp"
#include "rapt/error.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

namespace rapt {

void PagePool::check_budget(std::int64_t count, std::int64_t available) const {
  if (max_pages_ == 0) return;
  const std::int64_t possible = max_pages_ - static_cast<std::int64_t>(pages_.size()) + available;
  if (count <= possible) return;
  throw Error(ErrorCode::cache_full, "cache: no room for " + core::counted(count, "page") +
                                         ": max_pages " + std::to_string(max_pages_) + " leaves " +
                                         std::to_string(possible));
}

/// Adds at least `count` free pages, filled with zeros: memory past a sequence's last token is
/// read, though it changes nothing. Doubles the number of pages, up to kSlabFloats at a time:
/// contiguous pages can share huge pages of memory.
void PagePool::grow(std::int64_t count) {
  const auto total = static_cast<std::int64_t>(pages_.size());
  count = std::max(count, std::min(total, tuning::kSlabFloats / page_floats_));
  if (max_pages_ > 0) count = std::min(count, max_pages_ - total);
  std::int64_t floats = 0;
  if (__builtin_mul_overflow(count, page_floats_, &floats)) floats = INT64_MAX;
  try {
    AlignedBuffer slab(floats);
    std::fill(slab.data(), slab.data() + floats, 0.0f);
    free_.reserve(static_cast<std::size_t>(total + count));
    slabs_.reserve(slabs_.size() + 1);
    for (std::int64_t i = 0; i < count; ++i) {
      pages_.push_back({slab.data() + i * page_floats_});
    }
    slabs_.push_back(std::move(slab));
  } catch (...) {  // out of memory: nothing else is thrown here
    while (static_cast<std::int64_t>(pages_.size()) > total) pages_.pop_back();
    throw Error(ErrorCode::out_of_memory, "cache: no memory for " + core::counted(count, "page") +
                                              " of " + std::to_string(page_floats_) + " floats");
  }
  for (std::int64_t i = total + count; i > total; --i) {  // the first is taken first
    free_.push_back(&pages_[static_cast<std::size_t>(i - 1)]);
  }
}

void PagePool::release_locked(std::span<Page* const> pages) noexcept {
  for (Page* page : pages) {
    if (--page->references == 0) free_.push_back(page);
  }
}

/// Pages all of whose references are among those released; a page may be there several times.
std::int64_t PagePool::freed_by(std::span<Page* const> released) noexcept {
  std::int64_t freed = 0;
  for (Page* page : released) freed += --page->references == 0 ? 1 : 0;
  for (Page* page : released) ++page->references;
  return freed;
}

/// Free pages, including those that become free when `released` is returned.
std::int64_t PagePool::available(std::span<Page* const> released) const {
  return static_cast<std::int64_t>(free_.size()) + freed_by(released);
}

void PagePool::check_room(std::int64_t count, std::span<Page* const> released) const {
  const std::scoped_lock lock(mutex_);
  check_budget(count, available(released));
}

std::vector<Page*> PagePool::exchange(std::int64_t count, std::span<Page* const> released) {
  std::vector<Page*> taken(static_cast<std::size_t>(count));
  const std::scoped_lock lock(mutex_);
  const std::int64_t available = this->available(released);
  check_budget(count, available);
  if (count > available) grow(count - available);
  release_locked(released);
  for (Page*& page : taken) {
    page = free_.back();
    free_.pop_back();
    page->references = 1;
  }
  return taken;
}

void PagePool::share(std::span<Page* const> pages) {
  const std::scoped_lock lock(mutex_);
  for (Page* page : pages) ++page->references;
}

void PagePool::release(std::span<Page* const> pages) {
  const std::scoped_lock lock(mutex_);
  release_locked(pages);
}

std::int64_t PagePool::references(const Page& page) const {
  const std::scoped_lock lock(mutex_);
  return page.references;
}

void PagePool::reserve(std::int64_t count) {
  const std::scoped_lock lock(mutex_);
  const auto available = static_cast<std::int64_t>(free_.size());
  check_budget(count, available);
  if (count > available) grow(count - available);
}

std::int64_t PagePool::used() const {
  const std::scoped_lock lock(mutex_);
  return static_cast<std::int64_t>(pages_.size() - free_.size());
}

std::int64_t PagePool::free() const {
  const std::scoped_lock lock(mutex_);
  return static_cast<std::int64_t>(free_.size());
}

}  // namespace rapt
