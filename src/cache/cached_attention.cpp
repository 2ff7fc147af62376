// attention() and cross_attention() over a KvCache: a ragged batch whose keys are in the sequences'
// pages.
#include "attention/problem.hpp"
#include "cache/cache_store.hpp"
#include "core/counted.hpp"
#include "core/views.hpp"
#include "rapt/kv_cache.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace rapt {
namespace {

using core::check_extent;
using core::counted;
using core::fail;
using core::memory_range;

/// The positions of queries among the keys of their sequence.
enum class Place {
  at_end,   ///< the last tokens of the sequence
  by_mask,  ///< set by the mask, as without a cache: the queries are not tokens of it
};

void check_lens(const AttentionOptions& options) {
  if (options.kv_lens.empty()) return;
  fail("kv_lens: " + counted(options.kv_lens.size(), "length") +
       " cannot be given with a cache, which knows them");
}

/// The cache determines the positions of queries: options must not set them too.
void check_positions(const AttentionOptions& options) {
  if (options.mask.query_offset != 0) {
    fail("mask: query_offset " + std::to_string(options.mask.query_offset) +
         " cannot be given with a cache, which knows the positions");
  }
  if (!options.mask.query_offsets.empty()) {
    fail("mask.query_offsets: " + counted(options.mask.query_offsets.size(), "offset") +
         " cannot be given with a cache, which knows the positions");
  }
}

/// Per-sequence values of the mask; the cache call has its own list of sequences.
void check_per_sequence(const char* name, std::span<const std::int64_t> numbers,
                        std::int64_t count) {
  if (numbers.empty()) return;
  check_extent(name, std::ssize(numbers), "queries.sequences", count);
}

/// The sequence's first query must not see keys that the window has freed.
void check_visible_keys_are_kept(const CacheStore& store, const CachedSequence& cached,
                                 std::int64_t number, const PlanSequence& plan) {
  const std::int64_t held = cached.first_page * store.config.page_tokens;
  const std::int64_t first = first_visible(plan.visible, 0);
  if (plan.q_len == 0 || first >= held) return;
  fail("mask: the first query of sequence " + std::to_string(number) + ", q_len " +
       std::to_string(plan.q_len) + ", may see key " + std::to_string(first) +
       ", and the cache's window " + std::to_string(store.config.window) +
       " has freed the keys before " + std::to_string(held));
}

class CachedKeys final : public KeySource {
 public:
  CachedKeys(const CacheStore& store, const CacheQueries& queries, Place place)
      : store_(store), queries_(queries), place_(place) {}

  void check(AttentionProblem& problem) const override {
    const KvCacheConfig& config = store_.config;
    const auto& [sequences, rows] = queries_;
    problem.at_end = place_ == Place::at_end;
    problem.count = std::ssize(sequences);
    validate_row_offsets("queries.rows", rows, problem.tensors.q.shape[2]);
    check_extent("queries.rows: offsets", std::ssize(rows),
                 "queries.sequences + 1 =", problem.count + 1);
    check_lens(problem.options);
    if (place_ == Place::at_end) check_positions(problem.options);
    const Mask& mask = problem.options.mask;
    check_per_sequence("mask.query_offsets: offsets", mask.query_offsets, problem.count);
    check_per_sequence("mask.prefix_lens: lengths", mask.prefix_lens, problem.count);
    for (std::size_t s = 0; s < sequences.size(); ++s) add_sequence(s, problem);
    set_pages(store_.layout, "the cache's", {config.kv_heads, config.head_dim, config.value_dim},
              problem);
    problem.add_input("queries.sequences", memory_range(sequences));
    problem.add_input("queries.rows", memory_range(rows));
  }

  void find_keys(AttentionProblem& problem) const override {
    if (store_.config.window == kNoWindow) return;  // nothing was freed
    for (std::size_t s = 0; s < queries_.sequences.size(); ++s) {
      const std::int64_t number = queries_.sequences[s];
      check_visible_keys_are_kept(store_, store_.find(number), number, problem.sequences.plan[s]);
    }
  }

 private:
  void add_sequence(std::size_t s, AttentionProblem& problem) const {
    const std::int64_t number = queries_.sequences[s];
    const CachedSequence& cached = store_.find(number);
    const std::int64_t q_len = queries_.rows[s + 1] - queries_.rows[s];
    if (place_ == Place::at_end && q_len > cached.length) {
      fail("q: q_len " + std::to_string(q_len) + " of sequence " + std::to_string(number) +
           " is above its length " + std::to_string(cached.length));
    }
    SequencePlace& at = problem.sequences.add(q_len, cached.length);
    at.q_row = row_of(queries_.rows[s], q_len);
    at.k_pages = at.v_pages = cached.table.data();
    problem.max_keys = std::max(problem.max_keys, cached.length);
  }

  const CacheStore& store_;
  const CacheQueries& queries_;
  Place place_;
};

}  // namespace

void attention(TensorView<const void, 3> q, const KvCache& cache, const CacheQueries& queries,
               TensorView<void, 3> out, const AttentionOptions& options) {
  attend(as_batch(q), as_batch(out), options, CachedKeys(cache.store(), queries, Place::at_end));
}

void attention(TensorView<const void, 3> q, const KvCache& cache, std::int64_t sequence,
               TensorView<void, 3> out, const AttentionOptions& options) {
  const std::int64_t rows[] = {0, q.shape[0]};
  attention(q, cache, {.sequences = {&sequence, 1}, .rows = rows}, out, options);
}

void cross_attention(TensorView<const void, 3> q, const KvCache& cache, const CacheQueries& queries,
                     TensorView<void, 3> out, const AttentionOptions& options) {
  attend(as_batch(q), as_batch(out), options, CachedKeys(cache.store(), queries, Place::by_mask));
}

}  // namespace rapt
