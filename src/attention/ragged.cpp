// attention() over packed rows: a batch of one whose sequences differ in where their rows begin.
#include "rapt/ragged.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <string>

#include "attention/attend_sequences.hpp"
#include "attention/score_callback.hpp"
#include "attention/sequences.hpp"
#include "attention/validate.hpp"
#include "core/counted.hpp"
#include "core/per_thread.hpp"
#include "core/views.hpp"
#include "rapt/error.hpp"

namespace rapt {
namespace {

using core::counted;
using core::fail;
using core::memory_range;

void check_rows(const RaggedRows& rows, std::int64_t q_rows, std::int64_t kv_rows) {
  validate_row_offsets("rows.q", rows.q, q_rows);
  validate_row_offsets("rows.kv", rows.kv, kv_rows);
  core::check_extent("rows.kv: offsets", std::ssize(rows.kv), "rows.q's", std::ssize(rows.q));
}

void check_kv_lens(std::span<const std::int64_t> kv_lens, const RaggedRows& rows) {
  if (kv_lens.empty()) return;
  core::check_extent("kv_lens: lengths", static_cast<std::int64_t>(kv_lens.size()),
                     "the sequences of rows.kv", static_cast<std::int64_t>(rows.kv.size()) - 1);
  for (std::size_t s = 0; s < kv_lens.size(); ++s) {
    const std::int64_t own = rows.kv[s + 1] - rows.kv[s];
    if (kv_lens[s] >= 0 && kv_lens[s] <= own) continue;
    fail("kv_lens: length " + std::to_string(kv_lens[s]) + " of sequence " + std::to_string(s) +
         " is not within 0 and its " + counted(own, "row") + " of k");
  }
}

std::int64_t most_keys(const RaggedRows& rows) {
  std::int64_t most = 0;
  for (std::size_t s = 0; s + 1 < rows.kv.size(); ++s) {
    most = std::max(most, rows.kv[s + 1] - rows.kv[s]);
  }
  return most;
}

void validate(const AttentionTensors& tensors, const RaggedRows& rows,
              const AttentionOptions& options) {
  const auto& [q, k, v, out, pages] = tensors;
  const TensorMemory memory = validate_tensors(q, k, v, out);
  check_rows(rows, q.shape[2], k.shape[2]);
  validate_options(options, {1, q.shape[1], q.shape[2], most_keys(rows)},
                   static_cast<std::int64_t>(rows.q.size()) - 1,
                   {k.shape[1], q.shape[3], v.shape[3]});
  check_kv_lens(options.kv_lens, rows);
  const std::array inputs{NamedMemory{"q", memory.q}, NamedMemory{"k", memory.k},
                          NamedMemory{"v", memory.v}, NamedMemory{"rows.q", memory_range(rows.q)},
                          NamedMemory{"rows.kv", memory_range(rows.kv)}};
  validate_apart(memory.out, inputs, options);
}

void attend_ragged(TensorView<const float, 3> q, TensorView<const float, 3> k,
                   TensorView<const float, 3> v, TensorView<float, 3> out, const RaggedRows& rows,
                   const AttentionOptions& options, const CallbackOfCall& callback) {
  refuse_inside_callback();
  const AttentionTensors tensors{as_batch(q), as_batch(k), as_batch(v), as_batch(out)};
  validate(tensors, rows, options);
  constinit thread_local core::PerThread<Sequences> kept_sequences;
  Sequences& sequences = kept_sequences.get();
  sequences.clear();
  try {
    add_ragged(options.mask, options.kv_lens, rows, sequences);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory,
                "workspace: no memory for " + counted(rows.q.size(), "row offset"));
  }
  attend_sequences(tensors, options, sequences, callback);
}

}  // namespace

void attention(TensorView<const float, 3> q, TensorView<const float, 3> k,
               TensorView<const float, 3> v, TensorView<float, 3> out, const RaggedRows& rows,
               const AttentionOptions& options) {
  with_callback(options, [&](const CallbackOfCall& callback) {
    attend_ragged(q, k, v, out, rows, options, callback);
  });
}

}  // namespace rapt
