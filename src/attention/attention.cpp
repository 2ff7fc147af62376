// attention() over tensors.
#include "rapt/attention.hpp"

#include "attention/tensor_keys.hpp"
#include "core/views.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace rapt {

void TensorKeys::check(AttentionProblem& problem) const {
  const TensorView<const void, 4>& q = problem.tensors.q;
  set_keys(k_, v_, problem);
  problem.count = q.shape[0];
  problem.max_keys = k_.shape[2];
  const std::span<const std::int64_t> kv_lens = problem.options.kv_lens;
  check_kv_lens(kv_lens, q.shape[0]);
  if (!has_results(problem)) return;
  for (std::int64_t b = 0; b < q.shape[0]; ++b) {
    const std::int64_t keys = kv_lens.empty() ? k_.shape[2] : kv_lens[static_cast<std::size_t>(b)];
    problem.sequences.add(q.shape[2], keys).batch = b;
  }
}

void TensorKeys::check_kv_lens(std::span<const std::int64_t> kv_lens, std::int64_t batch) const {
  if (kv_lens.empty()) return;
  core::check_extent("kv_lens: lengths", std::ssize(kv_lens), "q's batch", batch);
  for (std::size_t b = 0; b < kv_lens.size(); ++b) {
    if (kv_lens[b] >= 0 && kv_lens[b] <= k_.shape[2]) continue;
    core::fail("kv_lens: length " + std::to_string(kv_lens[b]) + " of sequence " +
               std::to_string(b) + " is not within 0 and k's kv_len " +
               std::to_string(k_.shape[2]));
  }
}

void attention(TensorView<const void, 4> q, TensorView<const void, 4> k,
               TensorView<const void, 4> v, TensorView<void, 4> out,
               const AttentionOptions& options) {
  attend(q, out, options, TensorKeys(k, v));
}

}  // namespace rapt
