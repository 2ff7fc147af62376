#include "support/ragged_problem.hpp"

#include "rapt/ragged.hpp"
#include "reference/elements.hpp"
#include "reference/scalar.hpp"

#include <algorithm>
#include <cstddef>

namespace rapt::test {
namespace {

/// The part of a mask or bias; broadcast dimensions stay.
template <class T>
TensorView<T, 4> part_of(const TensorView<T, 4>& view, int dim, std::int64_t first,
                         std::int64_t count) {
  const bool broadcast = view.data == nullptr || view.shape[static_cast<std::size_t>(dim)] == 1;
  return broadcast ? view : view.sliced(dim, first, count);
}

template <class T>
AttentionState<T> rows_of(const AttentionState<T>& state, std::int64_t first, std::int64_t count) {
  if (!state) return state;
  return {state.m.sliced(2, first, count), state.l.sliced(2, first, count),
          state.o.sliced(2, first, count)};
}

std::int64_t max_keys(const Cuts& cuts) {
  std::int64_t most = 0;
  for (std::size_t s = 0; s + 1 < cuts.kv.size(); ++s) most = std::max(most, cuts.keys(s));
  return most;
}

std::vector<std::int64_t> random_offsets(std::int64_t rows, std::int64_t sequences,
                                         Random& random) {
  std::vector<std::int64_t> offsets;
  for (std::int64_t s = 0; s <= sequences; ++s) offsets.push_back(random.below(rows + 1));
  std::sort(offsets.begin(), offsets.end());
  return offsets;
}

void add_mask_numbers(const Spec& spec, Random& random, Cuts& cuts) {
  const std::int64_t keys = spec.shape.kv_len;
  for (std::size_t s = 0; s + 1 < cuts.q.size(); ++s) {
    if (spec.offset_per_sequence) cuts.query_offsets.push_back(random.below(keys + 20) - 10);
    if (spec.prefix_per_sequence) cuts.prefix_lens.push_back(random.below(keys + 4));
  }
}

/// Rows [1, heads, tokens, dim] as bytes.
struct Bytes {
  explicit Bytes(const TensorView<const void, 4>& rows)
      : integers_(static_cast<std::size_t>(rows.shape[1] * rows.shape[2] * rows.shape[3])),
        scales_(static_cast<std::size_t>(rows.shape[1] * rows.shape[2])),
        integers(integers_.data(), rows.shape),
        scales(scales_.data(), {1, rows.shape[1], rows.shape[2]}) {
    for (std::int64_t h = 0; h < rows.shape[1]; ++h) {
      for (std::int64_t t = 0; t < rows.shape[2]; ++t) {
        const reference::ByteRow row = reference::to_bytes(reference::row_elements(rows, 0, h, t));
        const std::int64_t at = h * rows.shape[2] + t;
        std::copy(row.integers.begin(), row.integers.end(), integers_.begin() + at * rows.shape[3]);
        scales_[static_cast<std::size_t>(at)] = row.scale;
      }
    }
  }

 private:
  std::vector<float> integers_, scales_;

 public:
  TensorView<const float, 4> integers;
  TensorView<const float, 3> scales;
};

/// Sequence s by itself.
void run_sequence(const Problem& problem, const Cuts& cuts, std::size_t s, const Outputs& want,
                  bool as_bytes) {
  const std::int64_t first = cuts.q[s], count = cuts.q[s + 1] - first;
  const std::int64_t key = cuts.first_key(s), keys = cuts.keys(s);
  const auto rows = [&](const auto& view) {
    return view.data == nullptr ? view : view.sliced(2, first, count);
  };
  AttentionOptions options = problem.options;
  write_to(want, options);
  if (!cuts.query_offsets.empty()) options.mask.query_offsets = {&cuts.query_offsets[s], 1};
  if (!cuts.prefix_lens.empty()) options.mask.prefix_lens = {&cuts.prefix_lens[s], 1};
  options.lse = rows(options.lse);
  options.weights = rows(options.weights);
  options.weight_sums = sums_of(want.weight_sums, s);
  options.state_in = rows_of(options.state_in, first, count);
  options.state_out = rows_of(options.state_out, first, count);
  options.bias = part_of(options.bias, 2, first, count);
  options.bool_mask.values = part_of(options.bool_mask.values, 2, first, count);
  RopeOptions& rope = options.rope;
  if (rope.q_positions.data != nullptr) rope.q_positions = rope.q_positions.sliced(1, first, count);
  if (rope.k_positions.data != nullptr) rope.k_positions = rope.k_positions.sliced(1, key, keys);
  const ScoreCallback callback = options.score_callback;
  const auto with_sequence = [&](ScoreTile tile) {
    tile.batch = static_cast<std::int64_t>(s);
    callback(tile);
  };
  if (callback) options.score_callback = with_sequence;
  const TensorView<const void, 4> k = problem.typed_k.sliced(2, key, keys);
  const TensorView<const void, 4> v = problem.typed_v.sliced(2, key, keys);
  if (!as_bytes) {
    reference::attention(rows(problem.typed_q), k, v, rows(want.typed_out), options);
    return;
  }
  const Bytes k_bytes(k), v_bytes(v);
  reference::attention_of_bytes(rows(problem.typed_q), k_bytes.integers, v_bytes.integers,
                                {k_bytes.scales, v_bytes.scales}, rows(want.typed_out), options);
}

}  // namespace

Outputs outputs_of(const Problem& problem, const Cuts& cuts) {
  Spec spec = problem.spec;
  spec.shape.kv_len = max_keys(cuts);
  return Outputs(spec, std::ssize(cuts.q) - 1);
}

AttentionOptions cut_options(const Problem& problem, const Cuts& cuts, const Outputs& outputs) {
  AttentionOptions options = problem.options;
  write_to(outputs, options);
  if (!cuts.query_offsets.empty()) options.mask.query_offsets = cuts.query_offsets;
  if (!cuts.prefix_lens.empty()) options.mask.prefix_lens = cuts.prefix_lens;
  const std::int64_t most = max_keys(cuts);
  options.bias = part_of(options.bias, 3, 0, most);
  options.bool_mask.values = part_of(options.bool_mask.values, 3, 0, most);
  return options;
}

bool can_be_ragged(const Spec& spec) {
  const Shape& s = spec.shape;
  return s.batch == 1 && s.q_len > 0 && s.kv_len > 0 && !spec.kv_lens && !spec.weights_rows;
}

Cuts random_cuts(const Spec& spec, Random& random) {
  const std::int64_t sequences = 1 + random.below(4);
  Cuts cuts{random_offsets(spec.shape.q_len, sequences, random),
            random_offsets(spec.shape.kv_len, sequences, random)};
  add_mask_numbers(spec, random, cuts);
  return cuts;
}

Cuts random_forks(const Spec& spec, Random& random) {
  const std::int64_t sequences = 2 + random.below(3), keys = spec.shape.kv_len;
  Cuts cuts{
      .q = random_offsets(spec.shape.q_len, sequences, random), .kv = {0}, .from_start = true};
  for (std::int64_t s = 0; s < sequences; ++s) {
    const std::int64_t less = random.below(std::min<std::int64_t>(keys, 20) + 1);
    cuts.kv.push_back(cuts.kv.back() + keys - less);
  }
  add_mask_numbers(spec, random, cuts);
  return cuts;
}

Outputs run_ragged(const Problem& problem, const Cuts& cuts) {
  Outputs got = outputs_of(problem, cuts);
  attention(packed(problem.typed_q), packed(problem.typed_k), packed(problem.typed_v),
            packed(got.typed_out), {.q = cuts.q, .kv = cuts.kv}, cut_options(problem, cuts, got));
  got.widen();
  return got;
}

Outputs run_ragged_statement(const Problem& problem, const Cuts& cuts, bool as_bytes) {
  Outputs want = outputs_of(problem, cuts);
  for (std::size_t s = 0; s + 1 < cuts.q.size(); ++s) {
    run_sequence(problem, cuts, s, want, as_bytes);
  }
  want.widen();
  return want;
}

}  // namespace rapt::test
