// attention() over the caller's pages: the block table becomes addresses, for the keys that are
// seen.
#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <vector>

#include "attention/attend_sequences.hpp"
#include "attention/score_callback.hpp"
#include "attention/validate.hpp"
#include "core/counted.hpp"
#include "core/per_thread.hpp"
#include "core/views.hpp"
#include "rapt/error.hpp"
#include "rapt/paged.hpp"

namespace rapt {
namespace {

using core::check_extent;
using core::counted;
using core::fail;
using core::memory_range;
using core::MemoryRange;

bool is_wide(const BlockTable& table) { return table.wide.data != nullptr; }

TensorView<const std::int64_t, 2>::Index extents(const BlockTable& table) {
  return is_wide(table) ? table.wide.shape : table.narrow.shape;
}

std::int64_t entry(const BlockTable& table, std::int64_t sequence, std::int64_t page) {
  return is_wide(table) ? table.wide(sequence, page) : table.narrow(sequence, page);
}

MemoryRange table_memory(const BlockTable& table) {
  return is_wide(table) ? memory_range(table.wide) : memory_range(table.narrow);
}

void check_pages(const PagedKeyValues& pages, std::int64_t sequences) {
  core::check_input("pages.k", pages.k);
  core::check_input("pages.v", pages.v);
  constexpr std::array names{"num_pages", "page_size", "kv_heads"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    check_extent((std::string("pages.v: ") + names[i]).c_str(), pages.v.shape[i],
                 (std::string("pages.k's ") + names[i]).c_str(), pages.k.shape[i]);
  }
  if (pages.k.shape[1] < 1) {
    fail("pages.k: page_size " + std::to_string(pages.k.shape[1]) + " is below 1");
  }
  if (is_wide(pages.table)) {
    core::check_strided_input("pages.table", pages.table.wide);
  } else {
    core::check_strided_input("pages.table", pages.table.narrow);
  }
  check_extent("pages.table: sequences", extents(pages.table)[0], "the sequences of rows",
               sequences);
  check_extent("pages.kv_lens: lengths", static_cast<std::int64_t>(pages.kv_lens.size()),
               "the sequences of rows", sequences);
}

void check_length(const PagedKeyValues& pages, std::size_t s) {
  const std::int64_t length = pages.kv_lens[s];
  const std::int64_t columns = extents(pages.table)[1], page_size = pages.k.shape[1];
  if (length > kMostKeys) {
    fail("pages.kv_lens: length " + std::to_string(length) + " of sequence " + std::to_string(s) +
         " is above the limit of 2^40");
  }
  if (length >= 0 && (length == 0 || (length - 1) / page_size < columns)) return;
  fail("pages.kv_lens: length " + std::to_string(length) + " of sequence " + std::to_string(s) +
       " is not within 0 and the " + counted(columns, "page") + " of " +
       counted(page_size, "token") + " that the table has for it");
}

/// The addresses of all pages that a query sees, sequence after sequence.
struct PageAddresses {
  std::vector<const float*> k, v;
  std::vector<std::size_t> begins;  // of each sequence, in k and v
};

/// Adds the pages of sequence s; those that no query sees are null and their entries unread.
void add_pages(const PagedKeyValues& pages, const PlanSequence& plan, std::int64_t s,
               PageAddresses& addresses) {
  const std::int64_t page_size = pages.k.shape[1];
  const std::int64_t begin = first_visible(plan.visible, 0);
  const std::int64_t end = end_of_visible(plan.visible, plan.q_len - 1);
  addresses.begins.push_back(addresses.k.size());
  if (plan.q_len == 0 || begin >= end) return;
  for (std::int64_t p = 0; p <= (end - 1) / page_size; ++p) {
    if (p < begin / page_size) {
      addresses.k.push_back(nullptr);
      addresses.v.push_back(nullptr);
      continue;
    }
    const std::int64_t page = entry(pages.table, s, p);
    if (page < 0 || page >= pages.k.shape[0]) {
      fail("pages.table: entry " + std::to_string(page) + " at (" + std::to_string(s) + ", " +
           std::to_string(p) + ") is outside the " + counted(pages.k.shape[0], "page") +
           " of pages.k");
    }
    addresses.k.push_back(pages.k.data + page * pages.k.strides[0]);
    addresses.v.push_back(pages.v.data + page * pages.v.strides[0]);
  }
}

/// The sequences with their pages.
void add_sequences(const PagedKeyValues& pages, std::span<const std::int64_t> rows,
                   const Mask& mask, PageAddresses& addresses, Sequences& sequences) {
  addresses.k.clear();
  addresses.v.clear();
  addresses.begins.clear();
  for (std::size_t s = 0; s < pages.kv_lens.size(); ++s) {
    check_length(pages, s);
    const std::int64_t q_len = rows[s + 1] - rows[s];
    sequences.add(mask, q_len, pages.kv_lens[s]).q_row = row_of(rows[s], q_len);
    add_pages(pages, sequences.plan.back(), static_cast<std::int64_t>(s), addresses);
  }
  for (std::size_t s = 0; s < sequences.places.size(); ++s) {
    sequences.places[s].k_pages = addresses.k.data() + addresses.begins[s];
    sequences.places[s].v_pages = addresses.v.data() + addresses.begins[s];
  }
}

PageLayout layout_of(const PagedKeyValues& pages) {
  return {.keys = pages.k.shape[1],
          .packed = false,
          .k_head_stride = pages.k.strides[2],
          .v_head_stride = pages.v.strides[2],
          .k_stride = pages.k.strides[1],
          .v_stride = pages.v.strides[1]};
}

void attend_pages(TensorView<const float, 3> q, const PagedKeyValues& given,
                  std::span<const std::int64_t> rows, TensorView<float, 3> out,
                  const AttentionOptions& options, const CallbackOfCall& callback) {
  refuse_inside_callback();
  validate_row_offsets("rows", rows, q.shape[0]);
  const auto count = static_cast<std::int64_t>(rows.size()) - 1;
  check_pages(given, count);
  PagedKeyValues pages = given;
  pages.k = core::without_idle_strides(pages.k);
  pages.v = core::without_idle_strides(pages.v);
  const std::int64_t kv_heads = pages.k.shape[2];
  const std::int64_t head_dim = pages.k.shape[3], value_dim = pages.v.shape[3];
  const PageLayout layout = layout_of(pages);
  AttentionTensors tensors{as_batch(q), {}, {}, as_batch(out), &layout};
  const TensorMemory memory =
      validate_queries(tensors.q, tensors.out, "the pages'", kv_heads, head_dim, value_dim);
  if (head_dim < 1) fail("pages.k: head_dim " + std::to_string(head_dim) + " is below 1");
  if (!options.kv_lens.empty()) {
    fail("kv_lens: " + counted(options.kv_lens.size(), "length") +
         " cannot be given beside pages.kv_lens");
  }
  const std::int64_t keys =
      pages.kv_lens.empty() ? 0 : std::max<std::int64_t>(0, std::ranges::max(pages.kv_lens));
  validate_options(options, {1, q.shape[1], q.shape[0], keys}, count,
                   {kv_heads, head_dim, value_dim});
  const std::array inputs{NamedMemory{"q", memory.q},
                          NamedMemory{"pages.k", memory_range(pages.k)},
                          NamedMemory{"pages.v", memory_range(pages.v)},
                          NamedMemory{"pages.table", table_memory(pages.table)},
                          NamedMemory{"pages.kv_lens", memory_range(pages.kv_lens)},
                          NamedMemory{"rows", memory_range(rows)}};
  validate_apart(memory.out, inputs, options);
  constinit thread_local core::PerThread<Sequences> kept_sequences;
  constinit thread_local core::PerThread<PageAddresses> kept_addresses;
  Sequences& sequences = kept_sequences.get();
  PageAddresses& addresses = kept_addresses.get();
  sequences.clear();
  try {
    add_sequences(pages, rows, options.mask, addresses, sequences);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory,
                "workspace: no memory for the pages of " + counted(count, "sequence"));
  }
  tensors.k.shape = {1, kv_heads, keys, head_dim};
  tensors.v.shape = {1, kv_heads, keys, value_dim};
  attend_sequences(tensors, options, sequences, callback);
}

}  // namespace

void attention(TensorView<const float, 3> q, const PagedKeyValues& pages,
               std::span<const std::int64_t> rows, TensorView<float, 3> out,
               const AttentionOptions& options) {
  with_callback(options, [&](const CallbackOfCall& callback) {
    attend_pages(q, pages, rows, out, options, callback);
  });
}

}  // namespace rapt
