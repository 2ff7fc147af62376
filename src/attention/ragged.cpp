// attention() over packed rows: a batch of one that holds all sequences, each at its own row
// offset.
#include "rapt/ragged.hpp"

#include "attention/problem.hpp"
#include "core/counted.hpp"
#include "core/views.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace rapt {
namespace {

using core::counted;
using core::fail;

class RaggedKeys final : public KeySource {
 public:
  RaggedKeys(const TensorView<const void, 3>& k, const TensorView<const void, 3>& v,
             const RaggedRows& rows)
      : k_(k), v_(v), rows_(rows) {}

  void check(AttentionProblem& problem) const override {
    set_keys(as_batch(k_), as_batch(v_), problem);
    problem.add_input("rows.q", core::memory_range(rows_.q));
    problem.add_input("rows.kv", core::memory_range(rows_.kv));
    validate_row_offsets("rows.q", rows_.q, problem.tensors.q.shape[2]);
    validate_row_offsets("rows.kv", rows_.kv, k_.shape[0]);
    core::check_extent("rows.kv: offsets", std::ssize(rows_.kv), "rows.q's", std::ssize(rows_.q));
    check_kv_lens(problem.options.kv_lens);
    problem.count = std::ssize(rows_.q) - 1;
    for (std::size_t s = 0; s + 1 < rows_.q.size(); ++s) add_sequence(s, problem);
  }

 private:
  std::int64_t keys_of(std::size_t s) const { return rows_.kv[s + 1] - rows_.kv[s]; }

  void check_kv_lens(std::span<const std::int64_t> kv_lens) const {
    if (kv_lens.empty()) return;
    core::check_extent("kv_lens: lengths", std::ssize(kv_lens), "the sequences of rows.kv",
                       std::ssize(rows_.kv) - 1);
    for (std::size_t s = 0; s < kv_lens.size(); ++s) {
      if (kv_lens[s] >= 0 && kv_lens[s] <= keys_of(s)) continue;
      fail("kv_lens: length " + std::to_string(kv_lens[s]) + " of sequence " + std::to_string(s) +
           " is not within 0 and its " + counted(keys_of(s), "row") + " of k");
    }
  }

  void add_sequence(std::size_t s, AttentionProblem& problem) const {
    const std::span<const std::int64_t> kv_lens = problem.options.kv_lens;
    const std::int64_t keys = kv_lens.empty() ? keys_of(s) : kv_lens[s];
    const std::int64_t q_len = rows_.q[s + 1] - rows_.q[s];
    SequencePlace& place = problem.sequences.add(q_len, keys);
    place.q_row = row_of(rows_.q[s], q_len);
    place.kv_row = row_of(rows_.kv[s], keys);
    problem.max_keys = std::max(problem.max_keys, keys_of(s));
  }

  TensorView<const void, 3> k_, v_;
  const RaggedRows& rows_;
};

}  // namespace

void attention(TensorView<const void, 3> q, TensorView<const void, 3> k,
               TensorView<const void, 3> v, TensorView<void, 3> out, const RaggedRows& rows,
               const AttentionOptions& options) {
  attend(as_batch(q), as_batch(out), options, RaggedKeys(k, v, rows));
}

}  // namespace rapt
