// What appending does to the sequences of a cache: found out before anything changes, carried out,
// and then settled or taken back.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/cache_store.hpp"
#include "rapt/tensor.hpp"

namespace rapt {

/// Of one sequence. Until it is settled, the sequence's old pages stay its own: those behind the
/// window, and a shared last page of which it has got a copy.
struct Growth {
  CachedSequence* sequence;
  std::int64_t first_row, count;  ///< its tokens in k and v
  std::int64_t new_pages;         ///< the copy of the last page included
  std::int64_t first_page;        ///< afterwards, by the window
  Page* shared_tail;              ///< its last page, when it is not full and a copy of it is to be
                                  ///< written, since others have it too; or null
  // What it was before.
  std::int64_t old_length, old_first_page, old_pages;
};

/// Checks the arguments of KvCache::append() and finds out what it needs.
std::vector<Growth> plan_growths(const CacheStore& store, std::span<const std::int64_t> sequences,
                                 std::span<const std::int64_t> rows, TensorView<const float, 3> k,
                                 TensorView<const float, 3> v);

/// Takes pages for all of them, giving back `released` in the same step, and writes the tokens.
/// Throws Error{cache_full} or Error{out_of_memory}; nothing has changed then.
void grow(CacheStore& store, std::span<const Growth> growths, std::span<Page* const> released,
          TensorView<const float, 3> k, TensorView<const float, 3> v);

/// The references to pages behind the windows.
std::vector<Page*> pages_behind(std::span<const Growth> growths);

/// Forgets what was before; the references to pages behind the windows have been given back.
void settle(CacheStore& store, std::span<const Growth> growths) noexcept;

/// Tokens that stay in their cache only if keep() is called; else the cache is afterwards as if
/// they had never been appended. Meanwhile the pages behind the windows are not free.
class PendingTokens {
 public:
  PendingTokens(CacheStore& store, std::span<const std::int64_t> sequences,
                std::span<const std::int64_t> rows, TensorView<const float, 3> k,
                TensorView<const float, 3> v);
  ~PendingTokens();
  PendingTokens(const PendingTokens&) = delete;
  PendingTokens& operator=(const PendingTokens&) = delete;

  void keep() noexcept;

 private:
  CacheStore& store_;
  std::vector<Growth> growths_;
};

}  // namespace rapt
