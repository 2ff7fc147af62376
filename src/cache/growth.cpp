#include "cache/growth.hpp"

#include "attention/validate.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "dispatch/dispatch.hpp"

#include <algorithm>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>

namespace rapt {
namespace {

using core::check_extent;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

void check_tokens(const KvCacheConfig& config, TensorView<const void, 3> k,
                  TensorView<const void, 3> v) {
  core::check_input("k", k);
  core::check_input("v", v);
  check_extent("k: kv_heads", k.shape[1], "the cache's kv_heads", config.kv_heads);
  check_extent("k: head_dim", k.shape[2], "the cache's head_dim", config.head_dim);
  check_extent("v: kv_heads", v.shape[1], "the cache's kv_heads", config.kv_heads);
  check_extent("v: tokens", v.shape[0], "k's tokens", k.shape[0]);
  check_extent("v: value_dim", v.shape[2], "the cache's value_dim", config.value_dim);
}

void check_distinct(std::span<const std::int64_t> sequences) {
  std::vector<std::int64_t> sorted(sequences.begin(), sequences.end());
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) {
    core::fail("sequences: " + std::to_string(*twice) + " is named twice");
  }
}

Growth plan_growth(const CacheStore& store, CachedSequence& sequence, std::int64_t first_row,
                   std::int64_t count) {
  const std::int64_t tokens = store.config.page_tokens;
  const auto have = static_cast<std::int64_t>(sequence.pages.size());
  Growth growth{.sequence = &sequence,
                .first_row = first_row,
                .count = count,
                .new_pages = 0,
                .first_page = sequence.first_page,
                .shared_tail = nullptr,
                .old_length = sequence.length,
                .old_first_page = sequence.first_page,
                .old_pages = have};
  if (count == 0) return growth;
  const bool open_tail = sequence.length % tokens != 0;
  if (open_tail && store.pool.references(*sequence.pages.back()) > 1) {
    growth.shared_tail = sequence.pages.back();
  }
  // Whole pages separately: the sum of their tokens and the length may overflow.
  growth.new_pages = count / tokens + ceil_div(sequence.length + count % tokens, tokens) - have +
                     (growth.shared_tail != nullptr ? 1 : 0);
  if (store.config.window != kNoWindow) {
    const std::int64_t out_of_reach = (sequence.length - store.config.window) / tokens;
    growth.first_page = std::max(growth.first_page, std::min(out_of_reach, have));
  }
  return growth;
}

/// If all sequences that share a last page grow, one of them writes into it and the others into
/// copies, as they would one after the other. It is the longest: its new tokens are past those of
/// all others, who may have to go back to the page.
void keep_one_tail(const CacheStore& store, std::span<Growth> growths) {
  std::vector<Growth*> sharers;
  for (Growth& growth : growths) {
    if (growth.shared_tail != nullptr) sharers.push_back(&growth);
  }
  std::ranges::sort(sharers, [](const Growth* x, const Growth* y) {
    const std::less<> before;
    return x->shared_tail != y->shared_tail ? before(x->shared_tail, y->shared_tail)
                                            : x->old_length < y->old_length;
  });
  for (std::size_t i = 0; i < sharers.size();) {
    const Page* const tail = sharers[i]->shared_tail;
    std::int64_t count = 0;
    for (; i < sharers.size() && sharers[i]->shared_tail == tail; ++i) ++count;
    if (store.pool.references(*tail) > count) continue;
    sharers[i - 1]->shared_tail = nullptr;
    --sharers[i - 1]->new_pages;
  }
}

/// Room for `more` pages, so that adding them cannot fail.
void make_room(CachedSequence& sequence, std::int64_t more) {
  const std::size_t needed = sequence.pages.size() + static_cast<std::size_t>(more);
  if (needed <= std::min(sequence.pages.capacity(), sequence.table.capacity())) return;
  sequence.pages.reserve(2 * needed);
  sequence.table.reserve(2 * needed);
}

/// The pages [begin, end) of a sequence.
std::span<Page* const> pages_of(const CachedSequence& sequence, std::int64_t begin,
                                std::int64_t end) {
  return std::span(sequence.pages)
      .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
}

void set_page(CachedSequence& sequence, std::int64_t at, Page* page) {
  sequence.pages[static_cast<std::size_t>(at)] = page;
  sequence.table[static_cast<std::size_t>(at)] = page == nullptr ? nullptr : page->floats;
}

/// Carries one growth out; `pages` are its new ones. Nothing here can fail.
void write_tokens(const kernels::KernelSet& kernels, const CacheStore& store, const Growth& growth,
                  std::span<Page* const> pages, TensorView<const void, 3> k,
                  TensorView<const void, 3> v) {
  CachedSequence& sequence = *growth.sequence;
  sequence.first_page = growth.first_page;
  if (growth.shared_tail != nullptr) {
    const float* from = growth.shared_tail->floats;
    std::copy(from, from + store.page_floats, pages.front()->floats);
    set_page(sequence, growth.old_pages - 1, pages.front());
    pages = pages.subspan(1);
  }
  for (Page* page : pages) {
    sequence.pages.push_back(page);
    sequence.table.push_back(page->floats);
  }
  const std::int64_t tokens = store.config.page_tokens;
  for (std::int64_t done = 0; done < growth.count;) {
    const std::int64_t row = sequence.length % tokens;
    const std::int64_t n = std::min(tokens - row, growth.count - done);
    float* page = sequence.pages[static_cast<std::size_t>(sequence.length / tokens)]->floats;
    write_page(kernels, store.layout, k, v, growth.first_row + done, row, n, page);
    sequence.length += n;
    done += n;
  }
}

void take_back(CacheStore& store, const Growth& growth) noexcept {
  CachedSequence& sequence = *growth.sequence;
  const auto have = static_cast<std::int64_t>(sequence.pages.size());
  store.pool.release(pages_of(sequence, growth.old_pages, have));
  if (growth.shared_tail != nullptr) {
    store.pool.release(pages_of(sequence, growth.old_pages - 1, growth.old_pages));
    set_page(sequence, growth.old_pages - 1, growth.shared_tail);
  }
  sequence.pages.resize(static_cast<std::size_t>(growth.old_pages));
  sequence.table.resize(sequence.pages.size());
  sequence.length = growth.old_length;
  sequence.first_page = growth.old_first_page;
}

}  // namespace

std::vector<Growth> plan_growths(const CacheStore& store, std::span<const std::int64_t> sequences,
                                 std::span<const std::int64_t> rows, TensorView<const void, 3> k,
                                 TensorView<const void, 3> v) {
  check_tokens(store.config, k, v);
  validate_row_offsets("rows", rows, k.shape[0]);
  check_extent("rows: offsets", static_cast<std::int64_t>(rows.size()),
               "sequences + 1 =", static_cast<std::int64_t>(sequences.size()) + 1);
  try {
    check_distinct(sequences);
    std::vector<Growth> growths;
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      CachedSequence& sequence = store.find(sequences[s]);
      growths.push_back(plan_growth(store, sequence, rows[s], rows[s + 1] - rows[s]));
    }
    keep_one_tail(store, growths);
    return growths;
  } catch (const std::bad_alloc&) {
    fail_for_tables();
  }
}

void grow(CacheStore& store, std::span<const Growth> growths, std::span<Page* const> released,
          TensorView<const void, 3> k, TensorView<const void, 3> v) {
  const kernels::KernelSet& kernels = dispatch::active_kernels();
  try {
    std::int64_t needed = 0;
    for (const Growth& growth : growths) needed += growth.new_pages;
    store.pool.check_room(needed, released);
    for (const Growth& growth : growths) make_room(*growth.sequence, growth.new_pages);
    const std::vector<Page*> taken = store.pool.exchange(needed, released);
    std::span<Page* const> left = taken;
    for (const Growth& growth : growths) {
      const auto count = static_cast<std::size_t>(growth.new_pages);
      write_tokens(kernels, store, growth, left.first(count), k, v);
      left = left.subspan(count);
    }
  } catch (const std::bad_alloc&) {
    fail_for_tables();
  } catch (const std::length_error&) {  // a table longer than any can be
    fail_for_tables();
  }
}

std::vector<Page*> pages_before_windows(std::span<const Growth> growths) {
  try {
    std::vector<Page*> references;
    for (const Growth& growth : growths) {
      const auto pages = pages_of(*growth.sequence, growth.old_first_page, growth.first_page);
      references.insert(references.end(), pages.begin(), pages.end());
    }
    return references;
  } catch (const std::bad_alloc&) {
    fail_for_tables();
  }
}

void settle(CacheStore& store, std::span<const Growth> growths) noexcept {
  for (const Growth& growth : growths) {
    for (std::int64_t p = growth.old_first_page; p < growth.first_page; ++p) {
      set_page(*growth.sequence, p, nullptr);
    }
    if (growth.shared_tail != nullptr) store.pool.release({&growth.shared_tail, 1});
  }
}

PendingTokens::PendingTokens(CacheStore& store, std::span<const std::int64_t> sequences,
                             std::span<const std::int64_t> rows, TensorView<const void, 3> k,
                             TensorView<const void, 3> v)
    : store_(store) {
  core::or_out_of_memory([&] {
    growths_ = plan_growths(store, sequences, rows, k, v);
    grow(store, growths_, {}, k, v);
  });
}

PendingTokens::~PendingTokens() {
  for (const Growth& growth : growths_) take_back(store_, growth);
}

void PendingTokens::keep() noexcept {
  for (const Growth& growth : growths_) {
    store_.pool.release(pages_of(*growth.sequence, growth.old_first_page, growth.first_page));
  }
  settle(store_, growths_);
  growths_.clear();
}

}  // namespace rapt
