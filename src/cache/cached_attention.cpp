// attention() and cross_attention() over a KvCache: a ragged batch whose keys are in the sequences'
// pages.
#include <algorithm>
#include <array>
#include <new>
#include <string>

#include "attention/attend_sequences.hpp"
#include "attention/score_callback.hpp"
#include "attention/validate.hpp"
#include "cache/cache_store.hpp"
#include "core/counted.hpp"
#include "core/per_thread.hpp"
#include "core/views.hpp"
#include "rapt/error.hpp"
#include "rapt/kv_cache.hpp"

namespace rapt {
namespace {

using core::check_extent;
using core::counted;
using core::fail;
using core::memory_range;

/// Where queries stand among the keys of their sequence.
enum class Place {
  at_end,   ///< they are its last tokens
  by_mask,  ///< they are no tokens of it: as in a call without a cache
};

void check_lens(const AttentionOptions& options) {
  if (options.kv_lens.empty()) return;
  fail("kv_lens: " + counted(options.kv_lens.size(), "length") +
       " cannot be given with a cache, which knows them");
}

/// What would move the queries from their places in the cache cannot be said twice.
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

/// Per-sequence numbers of the mask, which are read before the options are validated.
void check_per_sequence(const char* name, std::span<const std::int64_t> numbers,
                        std::int64_t count) {
  if (numbers.empty()) return;
  check_extent(name, std::ssize(numbers), "queries.sequences", count);
}

/// The keys that the window has freed must be out of sight of the sequence's first query.
void check_sight(const CacheStore& store, const CachedSequence& cached, std::int64_t number,
                 const PlanSequence& plan) {
  const std::int64_t held = cached.first_page * store.config.page_tokens;
  if (plan.q_len == 0 || std::max<std::int64_t>(plan.visible_begin, 0) >= held) return;
  fail("mask: the first query of sequence " + std::to_string(number) + ", q_len " +
       std::to_string(plan.q_len) + ", may see key " +
       std::to_string(std::max<std::int64_t>(plan.visible_begin, 0)) + ", and the cache's window " +
       std::to_string(store.config.window) + " has freed the keys before " + std::to_string(held));
}

/// Finds the sequences and where their queries stand. Returns the length of the longest.
std::int64_t add_cached(const CacheStore& store, const CacheQueries& queries, const Mask& mask,
                        Place place, Sequences& sequences) {
  Mask placed = mask;
  if (place == Place::at_end) placed.align = Mask::Align::bottom_right;
  std::int64_t longest = 0;
  for (std::size_t s = 0; s < queries.sequences.size(); ++s) {
    const std::int64_t number = queries.sequences[s];
    const CachedSequence& cached = store.find(number);
    const std::int64_t q_len = queries.rows[s + 1] - queries.rows[s];
    if (place == Place::at_end && q_len > cached.length) {
      fail("q: q_len " + std::to_string(q_len) + " of sequence " + std::to_string(number) +
           " is above its length " + std::to_string(cached.length));
    }
    SequencePlace& at = sequences.add(placed, q_len, cached.length);
    at.q_row = row_of(queries.rows[s], q_len);
    at.k_pages = at.v_pages = cached.table.data();
    check_sight(store, cached, number, sequences.plan.back());
    longest = std::max(longest, cached.length);
  }
  return longest;
}

void attend(TensorView<const float, 3> q, const CacheStore& store, const CacheQueries& queries,
            TensorView<float, 3> out, const AttentionOptions& options, Place place,
            const CallbackOfCall& callback) {
  refuse_inside_callback();
  const KvCacheConfig& config = store.config;
  AttentionTensors tensors{as_batch(q), {}, {}, as_batch(out), &store.layout};
  const TensorMemory memory = validate_queries(tensors.q, tensors.out, "the cache's",
                                               config.kv_heads, config.head_dim, config.value_dim);
  validate_row_offsets("queries.rows", queries.rows, q.shape[0]);
  const auto count = static_cast<std::int64_t>(queries.sequences.size());
  check_extent("queries.rows: offsets", static_cast<std::int64_t>(queries.rows.size()),
               "queries.sequences + 1 =", count + 1);
  check_lens(options);
  if (place == Place::at_end) check_positions(options);
  check_per_sequence("mask.query_offsets: offsets", options.mask.query_offsets, count);
  check_per_sequence("mask.prefix_lens: lengths", options.mask.prefix_lens, count);
  validate_mask(options.mask, count);
  constinit thread_local core::PerThread<Sequences> kept_sequences;
  Sequences& sequences = kept_sequences.get();
  sequences.clear();
  std::int64_t longest = 0;
  try {
    longest = add_cached(store, queries, options.mask, place, sequences);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, "workspace: no memory for " + counted(count, "sequence"));
  }
  validate_options(options, {1, q.shape[1], q.shape[0], longest}, count,
                   {config.kv_heads, config.head_dim, config.value_dim});
  const std::array inputs{NamedMemory{"q", memory.q},
                          NamedMemory{"queries.sequences", memory_range(queries.sequences)},
                          NamedMemory{"queries.rows", memory_range(queries.rows)}};
  validate_apart(memory.out, inputs, options);
  tensors.k.shape = {1, config.kv_heads, longest, config.head_dim};
  tensors.v.shape = {1, config.kv_heads, longest, config.value_dim};
  attend_sequences(tensors, options, sequences, callback);
}

}  // namespace

void attention(TensorView<const float, 3> q, const KvCache& cache, const CacheQueries& queries,
               TensorView<float, 3> out, const AttentionOptions& options) {
  with_callback(options, [&](const CallbackOfCall& callback) {
    attend(q, cache.store(), queries, out, options, Place::at_end, callback);
  });
}

void cross_attention(TensorView<const float, 3> q, const KvCache& cache,
                     const CacheQueries& queries, TensorView<float, 3> out,
                     const AttentionOptions& options) {
  with_callback(options, [&](const CallbackOfCall& callback) {
    attend(q, cache.store(), queries, out, options, Place::by_mask, callback);
  });
}

}  // namespace rapt
