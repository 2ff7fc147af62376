// attention() over the caller's pages.
#include "attention/problem.hpp"
#include "core/counted.hpp"
#include "core/views.hpp"
#include "rapt/paged.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

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
  if (length > kMaxKeys) {
    fail("pages.kv_lens: length " + std::to_string(length) + " of sequence " + std::to_string(s) +
         " is above the limit of 2^40");
  }
  if (length >= 0 && (length == 0 || (length - 1) / page_size < columns)) return;
  fail("pages.kv_lens: length " + std::to_string(length) + " of sequence " + std::to_string(s) +
       " is not within 0 and the " + counted(columns, "page") + " of " +
       counted(page_size, "token") + " that the table has for it");
}

/// Adds the pages of sequence s. Pages without a visible key become null; their table entries are
/// not read.
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
    addresses.k.push_back(pages.k.at(page * pages.k.strides[0]));
    addresses.v.push_back(pages.v.at(page * pages.v.strides[0]));
  }
}

PageLayout layout_of(const PagedKeyValues& pages) {
  return {.keys = pages.k.shape[1],
          .packed = false,
          .k_head_stride = pages.k.strides[2],
          .v_head_stride = pages.v.strides[2],
          .k_stride = pages.k.strides[1],
          .v_stride = pages.v.strides[1],
          .k_type = pages.k.dtype,
          .v_type = pages.v.dtype};
}

class PagedKeys final : public KeySource {
 public:
  PagedKeys(const PagedKeyValues& pages, std::span<const std::int64_t> rows)
      : pages_(pages), rows_(rows) {
    pages_.k = core::without_idle_strides(pages_.k);
    pages_.v = core::without_idle_strides(pages_.v);
    layout_ = layout_of(pages_);
  }

  void check(AttentionProblem& problem) const override {
    validate_row_offsets("rows", rows_, problem.tensors.q.shape[2]);
    problem.count = std::ssize(rows_) - 1;
    check_pages(pages_, problem.count);
    for (const std::int64_t length : pages_.kv_lens) {
      problem.max_keys = std::max(problem.max_keys, length);
    }
    const std::int64_t head_dim = pages_.k.shape[3];
    set_pages(layout_, "the pages'", {pages_.k.shape[2], head_dim, pages_.v.shape[3]}, problem);
    problem.add_input("pages.k", memory_range(pages_.k));
    problem.add_input("pages.v", memory_range(pages_.v));
    problem.add_input("pages.table", table_memory(pages_.table));
    problem.add_input("pages.kv_lens", memory_range(pages_.kv_lens));
    problem.add_input("rows", memory_range(rows_));
    if (head_dim < 1) fail("pages.k: head_dim " + std::to_string(head_dim) + " is below 1");
    if (!problem.options.kv_lens.empty()) {
      fail("kv_lens: " + counted(problem.options.kv_lens.size(), "length") +
           " cannot be given beside pages.kv_lens");
    }
    for (std::size_t s = 0; s < pages_.kv_lens.size(); ++s) {
      check_length(pages_, s);
      const std::int64_t q_len = rows_[s + 1] - rows_[s];
      problem.sequences.add(q_len, pages_.kv_lens[s]).q_row = row_of(rows_[s], q_len);
    }
  }

  /// Translates the block table into addresses, only for pages with a visible key.
  void find_keys(AttentionProblem& problem) const override {
    PageAddresses& addresses = problem.addresses;
    addresses.clear();
    Sequences& sequences = problem.sequences;
    for (std::size_t s = 0; s < sequences.plan.size(); ++s) {
      add_pages(pages_, sequences.plan[s], static_cast<std::int64_t>(s), addresses);
    }
    for (std::size_t s = 0; s < sequences.places.size(); ++s) {
      sequences.places[s].k_pages = addresses.k.data() + addresses.begins[s];
      sequences.places[s].v_pages = addresses.v.data() + addresses.begins[s];
    }
  }

 private:
  PagedKeyValues pages_;
  std::span<const std::int64_t> rows_;
  PageLayout layout_;
};

}  // namespace

void attention(TensorView<const void, 3> q, const PagedKeyValues& pages,
               std::span<const std::int64_t> rows, TensorView<void, 3> out,
               const AttentionOptions& options) {
  attend(as_batch(q), as_batch(out), options, PagedKeys(pages, rows));
}

}  // namespace rapt
