// Appending to the sequences of a cache: planned before anything changes, performed, then kept or
// rolled back.
#pragma once

#include "cache/cache_store.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace rapt {

/// The growth of one sequence. Until it is settled, the sequence also keeps its old pages: those
/// before the window, and a shared last page of which it got a copy.
struct Growth {
  CachedSequence* sequence;
  std::int64_t first_row, count;  ///< its tokens in k and v
  std::int64_t new_pages;         ///< including the copy of the last page
  std::int64_t first_page;        ///< after the growth, by the window
  Page* shared_tail;              ///< the last page, if it is not full, shared, and to be copied;
                                  ///< otherwise null
  // What it was before.
  std::int64_t old_length, old_first_page, old_pages;
};

/// Checks the arguments of KvCache::append() and determines what it needs.
std::vector<Growth> plan_growths(const CacheStore& store, std::span<const std::int64_t> sequences,
                                 std::span<const std::int64_t> rows, TensorView<const void, 3> k,
                                 TensorView<const void, 3> v);

/// Takes pages for all of them, returning `released` in the same step, and writes the tokens. If it
/// throws Error{cache_full} or Error{out_of_memory}, nothing has changed.
void grow(CacheStore& store, std::span<const Growth> growths, std::span<Page* const> released,
          TensorView<const void, 3> k, TensorView<const void, 3> v);

/// The references to pages before the windows.
std::vector<Page*> pages_before_windows(std::span<const Growth> growths);

/// Drops the old state; the references to pages before the windows have been returned.
void settle(CacheStore& store, std::span<const Growth> growths) noexcept;

/// Tokens that stay in their cache only if keep() is called; otherwise the cache is as if they had
/// never been appended. Until then the pages before the windows are not free.
class PendingTokens {
 public:
  PendingTokens(CacheStore& store, std::span<const std::int64_t> sequences,
                std::span<const std::int64_t> rows, TensorView<const void, 3> k,
                TensorView<const void, 3> v);
  ~PendingTokens();
  PendingTokens(const PendingTokens&) = delete;
  PendingTokens& operator=(const PendingTokens&) = delete;

  void keep() noexcept;

 private:
  CacheStore& store_;
  std::vector<Growth> growths_;
};

}  // namespace rapt
