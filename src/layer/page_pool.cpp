#include "layer/page_pool.hpp"

#include <algorithm>
#include <new>
#include <string>

#include "rapt/error.hpp"

namespace rapt {

void PagePool::check_budget(std::int64_t count, std::int64_t available) const {
  if (max_pages_ == 0) return;
  const std::int64_t possible = available + max_pages_ - static_cast<std::int64_t>(pages_.size());
  if (count <= possible) return;
  throw Error(ErrorCode::cache_full, "cache: " + std::to_string(count) + " pages are needed and " +
                                         std::to_string(possible) + " of max_pages " +
                                         std::to_string(max_pages_) + " are left");
}

/// Adds `count` free pages, filled with zeros: what lies behind a sequence's last token is read,
/// though it changes nothing.
void PagePool::grow(std::int64_t count) {
  try {
    for (; count > 0; --count) {
      Page page;
      float* floats = page.floats.reserve(page_floats_);
      std::fill(floats, floats + page_floats_, 0.0f);
      free_.reserve(pages_.size() + 1);
      pages_.push_back(std::move(page));
      free_.push_back(&pages_.back());
    }
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory,
                "cache: no memory for a page of " + std::to_string(page_floats_) + " floats");
  }
}

void PagePool::release_locked(std::span<Page* const> pages) noexcept {
  for (Page* page : pages) {
    if (--page->references == 0) free_.push_back(page);
  }
}

std::vector<Page*> PagePool::exchange(std::int64_t count, std::span<Page* const> released) {
  std::vector<Page*> taken(static_cast<std::size_t>(count));
  const std::scoped_lock lock(mutex_);
  const auto last = [](const Page* page) { return page->references == 1; };
  const auto available = static_cast<std::int64_t>(free_.size()) +
                         std::count_if(released.begin(), released.end(), last);
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

bool PagePool::is_shared(const Page& page) const {
  const std::scoped_lock lock(mutex_);
  return page.references > 1;
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
