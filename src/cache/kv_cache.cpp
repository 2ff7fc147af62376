// KvCache: sequences come, grow, branch and go; the pages follow.
#include "rapt/kv_cache.hpp"

#include "cache/cache_store.hpp"
#include "cache/growth.hpp"
#include "core/counted.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "rapt/error.hpp"

#include <algorithm>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace rapt {
namespace {

using core::counted;
using core::fail;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// The pages of a sequence from page `from` on that it still has.
std::span<Page* const> pages_from(const CachedSequence& sequence, std::int64_t from) {
  const std::int64_t first = std::max(sequence.first_page, from);
  return std::span(sequence.pages).subspan(static_cast<std::size_t>(first));
}

}  // namespace

KvCache::KvCache(const KvCacheConfig& config) try {
  store_ = std::make_unique<CacheStore>(config);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}
KvCache::~KvCache() = default;
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;

CacheStore& KvCache::store() const {
  if (store_ == nullptr)
    throw Error(ErrorCode::invalid_argument, SentenceLiteral("cache: was moved from"));
  return *store_;
}

std::int64_t KvCache::add() try {
  return store().insert(std::make_unique<CachedSequence>());
} catch (const std::bad_alloc&) {
  fail_for_tables();
}

std::int64_t KvCache::fork(std::int64_t sequence) try {
  const CachedSequence& parent = store().find(sequence);
  auto child = std::make_unique<CachedSequence>(parent);
  const std::int64_t number = store().insert(std::move(child));
  store().pool.share(pages_from(parent, 0));
  return number;
} catch (const std::bad_alloc&) {
  fail_for_tables();
}

void KvCache::append(std::int64_t sequence, TensorView<const void, 3> k,
                     TensorView<const void, 3> v) {
  const std::int64_t rows[] = {0, k.shape[0]};
  append({&sequence, 1}, rows, k, v);
}

void KvCache::append(std::span<const std::int64_t> sequences, std::span<const std::int64_t> rows,
                     TensorView<const void, 3> k, TensorView<const void, 3> v) try {
  const std::vector<Growth> growths = plan_growths(store(), sequences, rows, k, v);
  grow(store(), growths, pages_before_windows(growths), k, v);
  settle(store(), growths);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void KvCache::truncate(std::int64_t sequence, std::int64_t length) try {
  CachedSequence& cut = store().find(sequence);
  if (length < 0 || length > cut.length) {
    fail("length: " + std::to_string(length) + " is not within 0 and the " +
         counted(cut.length, "token") + " of sequence " + std::to_string(sequence));
  }
  const std::int64_t tokens = store().config.page_tokens;
  const std::int64_t window = store().config.window;
  const std::int64_t held = cut.first_page * tokens;
  if (window != kNoWindow && held > std::max<std::int64_t>(length - window, 0)) {
    fail("length: " + std::to_string(length) + " with window " + std::to_string(window) +
         " reaches behind token " + std::to_string(held) + ", the first that sequence " +
         std::to_string(sequence) + " still has");
  }
  const std::int64_t pages = ceil_div(length, tokens);
  store().pool.release(pages_from(cut, pages));
  cut.pages.resize(static_cast<std::size_t>(std::max(pages, cut.first_page)));
  cut.table.resize(cut.pages.size());
  cut.length = length;
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void KvCache::remove(std::int64_t sequence) try {
  store().pool.release(pages_from(store().find(sequence), 0));
  store().erase(sequence);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void KvCache::clear() { store().clear(); }

void KvCache::reserve(std::int64_t pages) try {
  if (pages < 0) fail("pages: " + std::to_string(pages) + " is below 0");
  store().pool.reserve(pages);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

std::int64_t KvCache::length(std::int64_t sequence) const try {
  return store().find(sequence).length;
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

std::int64_t KvCache::first_token(std::int64_t sequence) const try {
  return store().find(sequence).first_page * store().config.page_tokens;
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

KvCacheUsage KvCache::usage() const {
  return {.sequences = store().count(),
          .pages_used = store().pool.used(),
          .pages_free = store().pool.free(),
          .max_pages = store().config.max_pages,
          .page_bytes = store().page_floats * static_cast<std::int64_t>(sizeof(float))};
}

const KvCacheConfig& KvCache::config() const { return store().config; }

}  // namespace rapt
