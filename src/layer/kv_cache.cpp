// KvCache: sequences come, grow, branch and go; the pages follow.
#include "rapt/kv_cache.hpp"

#include <algorithm>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "core/views.hpp"
#include "driver/validate.hpp"
#include "layer/cache_store.hpp"
#include "rapt/error.hpp"

namespace rapt {
namespace {

using core::check_extent;
using core::fail;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

[[noreturn]] void fail_for_memory() {
  throw Error(ErrorCode::out_of_memory, "cache: no memory for the tables of its sequences");
}

/// The pages of a sequence from page `from` on that it still has.
std::span<Page* const> pages_from(const CachedSequence& sequence, std::int64_t from) {
  const std::int64_t first = std::max(sequence.first_page, from);
  return std::span(sequence.pages).subspan(static_cast<std::size_t>(first));
}

/// What an append does to one sequence, found out before anything changes.
struct Growth {
  CachedSequence* sequence;
  std::int64_t first_row, count;  ///< its tokens in k and v
  bool copies_tail;               ///< its last page is shared and not full
  std::int64_t new_pages;         ///< the copy included
  std::int64_t first_page;        ///< afterwards, by the window
};

Growth plan_growth(const CacheStore& store, CachedSequence& sequence, std::int64_t first_row,
                   std::int64_t count) {
  const std::int64_t tokens = store.config.page_tokens;
  Growth growth{&sequence, first_row, count, false, 0, sequence.first_page};
  if (count == 0) return growth;
  const auto have = static_cast<std::int64_t>(sequence.pages.size());
  growth.copies_tail =
      sequence.length % tokens != 0 && store.pool.is_shared(*sequence.pages.back());
  growth.new_pages =
      ceil_div(sequence.length + count, tokens) - have + (growth.copies_tail ? 1 : 0);
  if (store.config.window != kNoWindow) {
    const std::int64_t out_of_reach = (sequence.length - store.config.window) / tokens;
    growth.first_page = std::max(growth.first_page, std::min(out_of_reach, have));
  }
  return growth;
}

/// Room for `more` pages, so that adding them cannot fail.
void make_room(CachedSequence& sequence, std::int64_t more) {
  const std::size_t needed = sequence.pages.size() + static_cast<std::size_t>(more);
  if (needed <= std::min(sequence.pages.capacity(), sequence.table.capacity())) return;
  sequence.pages.reserve(2 * needed);
  sequence.table.reserve(2 * needed);
}

/// Takes the new pages for all of them, and gives back those behind the windows.
std::vector<Page*> take_pages(CacheStore& store, std::span<const Growth> growths) {
  std::int64_t needed = 0;
  std::vector<Page*> behind;
  for (const Growth& growth : growths) {
    needed += growth.new_pages;
    make_room(*growth.sequence, growth.new_pages);
    const auto held = pages_from(*growth.sequence, 0);
    const auto freed = static_cast<std::size_t>(growth.first_page - growth.sequence->first_page);
    behind.insert(behind.end(), held.begin(), held.begin() + static_cast<std::ptrdiff_t>(freed));
  }
  return store.pool.exchange(needed, behind);
}

/// Carries it out; `pages` are the growth's new ones. Nothing here can fail.
void grow(CacheStore& store, const Growth& growth, std::span<Page* const> pages,
          TensorView<const float, 3> k, TensorView<const float, 3> v) {
  CachedSequence& sequence = *growth.sequence;
  for (; sequence.first_page < growth.first_page; ++sequence.first_page) {
    const auto p = static_cast<std::size_t>(sequence.first_page);
    sequence.pages[p] = nullptr;
    sequence.table[p] = nullptr;
  }
  if (growth.copies_tail) {
    Page* const shared = sequence.pages.back();
    const float* from = shared->floats.data();
    std::copy(from, from + store.page_floats, pages.front()->floats.data());
    sequence.pages.back() = pages.front();
    sequence.table.back() = pages.front()->floats.data();
    store.pool.release({&shared, 1});
    pages = pages.subspan(1);
  }
  for (Page* page : pages) {
    sequence.pages.push_back(page);
    sequence.table.push_back(page->floats.data());
  }
  const std::int64_t tokens = store.config.page_tokens;
  for (std::int64_t done = 0; done < growth.count;) {
    const std::int64_t row = sequence.length % tokens;
    const std::int64_t n = std::min(tokens - row, growth.count - done);
    float* page = sequence.pages[static_cast<std::size_t>(sequence.length / tokens)]->floats.data();
    write_page(store.layout, k, v, growth.first_row + done, row, n, page);
    sequence.length += n;
    done += n;
  }
}

void check_tokens(const KvCacheConfig& config, TensorView<const float, 3> k,
                  TensorView<const float, 3> v) {
  core::check_input("k", k);
  core::check_input("v", v);
  check_extent("k: kv_heads", k.shape[0], "the cache's kv_heads", config.kv_heads);
  check_extent("k: head_dim", k.shape[2], "the cache's head_dim", config.head_dim);
  check_extent("v: kv_heads", v.shape[0], "the cache's kv_heads", config.kv_heads);
  check_extent("v: tokens", v.shape[1], "k's tokens", k.shape[1]);
  check_extent("v: value_dim", v.shape[2], "the cache's value_dim", config.value_dim);
}

void check_distinct(std::span<const std::int64_t> sequences) {
  std::vector<std::int64_t> sorted(sequences.begin(), sequences.end());
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) {
    fail("sequences: " + std::to_string(*twice) + " is named twice");
  }
}

}  // namespace

KvCache::KvCache(const KvCacheConfig& config) : store_(std::make_unique<CacheStore>(config)) {}
KvCache::~KvCache() = default;
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;

std::int64_t KvCache::add() {
  try {
    return store_->insert(std::make_unique<CachedSequence>());
  } catch (const std::bad_alloc&) {
    fail_for_memory();
  }
}

std::int64_t KvCache::fork(std::int64_t sequence) {
  const CachedSequence& parent = store_->find(sequence);
  try {
    auto child = std::make_unique<CachedSequence>(parent);
    const std::int64_t number = store_->insert(std::move(child));
    store_->pool.share(pages_from(parent, 0));
    return number;
  } catch (const std::bad_alloc&) {
    fail_for_memory();
  }
}

void KvCache::append(std::int64_t sequence, TensorView<const float, 3> k,
                     TensorView<const float, 3> v) {
  const std::int64_t rows[] = {0, k.shape[1]};
  append({&sequence, 1}, rows, k, v);
}

void KvCache::append(std::span<const std::int64_t> sequences, std::span<const std::int64_t> rows,
                     TensorView<const float, 3> k, TensorView<const float, 3> v) {
  check_tokens(store_->config, k, v);
  validate_row_offsets("rows", rows, k.shape[1]);
  check_extent("rows: offsets", static_cast<std::int64_t>(rows.size()),
               "sequences + 1 =", static_cast<std::int64_t>(sequences.size()) + 1);
  try {
    check_distinct(sequences);
    std::vector<Growth> growths;
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      CachedSequence& sequence = store_->find(sequences[s]);
      growths.push_back(plan_growth(*store_, sequence, rows[s], rows[s + 1] - rows[s]));
    }
    const std::vector<Page*> taken = take_pages(*store_, growths);
    std::span<Page* const> left = taken;
    for (const Growth& growth : growths) {
      const auto count = static_cast<std::size_t>(growth.new_pages);
      grow(*store_, growth, left.first(count), k, v);
      left = left.subspan(count);
    }
  } catch (const std::bad_alloc&) {
    fail_for_memory();
  }
}

void KvCache::truncate(std::int64_t sequence, std::int64_t length) {
  CachedSequence& cut = store_->find(sequence);
  if (length < 0 || length > cut.length) {
    fail("length: " + std::to_string(length) + " is not within 0 and the " +
         std::to_string(cut.length) + " tokens of sequence " + std::to_string(sequence));
  }
  const std::int64_t tokens = store_->config.page_tokens;
  const std::int64_t window = store_->config.window;
  const std::int64_t held = cut.first_page * tokens;
  if (window != kNoWindow && held > std::max<std::int64_t>(length - window, 0)) {
    fail("length: " + std::to_string(length) + " with window " + std::to_string(window) +
         " reaches behind token " + std::to_string(held) + ", the first that sequence " +
         std::to_string(sequence) + " still has");
  }
  const std::int64_t pages = ceil_div(length, tokens);
  store_->pool.release(pages_from(cut, pages));
  cut.pages.resize(static_cast<std::size_t>(std::max(pages, cut.first_page)));
  cut.table.resize(cut.pages.size());
  cut.length = length;
}

void KvCache::remove(std::int64_t sequence) {
  store_->pool.release(pages_from(store_->find(sequence), 0));
  store_->erase(sequence);
}

void KvCache::clear() { store_->clear(); }

void KvCache::reserve(std::int64_t pages) {
  if (pages < 0) fail("pages: " + std::to_string(pages) + " is below 0");
  store_->pool.reserve(pages);
}

std::int64_t KvCache::length(std::int64_t sequence) const { return store_->find(sequence).length; }

std::int64_t KvCache::first_token(std::int64_t sequence) const {
  return store_->find(sequence).first_page * store_->config.page_tokens;
}

KvCacheUsage KvCache::usage() const {
  return {.sequences = store_->count(),
          .pages_used = store_->pool.used(),
          .pages_free = store_->pool.free(),
          .max_pages = store_->config.max_pages,
          .page_bytes = store_->page_floats * static_cast<std::int64_t>(sizeof(float))};
}

const KvCacheConfig& KvCache::config() const noexcept { return store_->config; }

}  // namespace rapt
