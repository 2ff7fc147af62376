#include "driver/cascade.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "core/aligned_buffer.hpp"

namespace rapt {
namespace {

using kernels::kKeyBlock;
using kernels::kUnlimited;

/// The keys [0, n) that every query of the sequence sees.
std::int64_t seen_from_start(const PlanSequence& sequence) {
  if (sequence.q_len < 1 || sequence.q_len > kCascadeQueries) return 0;
  if (sequence.q_len - 1 + sequence.visible_begin > 0) return 0;
  return sequence.end_of_visible(0);
}

/// The keys [0, n) of sequences s and t that are in the same pages, seen by all queries of both: a
/// whole number of key blocks and of pages.
std::int64_t shared_keys(const PageLayout& pages, const Sequences& sequences, std::size_t s,
                         std::size_t t) {
  const SequencePlace &x = sequences.places[s], &y = sequences.places[t];
  const std::int64_t most =
      std::min(seen_from_start(sequences.plan[s]), seen_from_start(sequences.plan[t])) / pages.keys;
  std::int64_t same = 0;
  while (same < most && x.k_pages[same] == y.k_pages[same] && x.v_pages[same] == y.v_pages[same]) {
    ++same;
  }
  const std::int64_t unit = std::lcm(pages.keys, std::int64_t{kKeyBlock});
  return same * pages.keys / unit * unit;
}

/// Neighbours [first, last) with `keys` keys in common.
struct Group {
  std::size_t first, last;
  std::int64_t keys;

  /// Keys that are read once instead of again.
  std::int64_t saved() const { return static_cast<std::int64_t>(last - first - 1) * keys; }
};

/// The group that begins with a sequence: as long as another neighbour saves more than it costs.
Group group_from(const PageLayout& pages, const Sequences& sequences, std::size_t first) {
  Group group{first, first + 1, kUnlimited};
  while (group.last < sequences.plan.size()) {
    const std::int64_t keys =
        std::min(group.keys, shared_keys(pages, sequences, first, group.last));
    const Group longer{first, group.last + 1, keys};
    if (keys == 0 || longer.saved() < group.saved()) break;
    group = longer;
  }
  return group;
}

/// Whether reading once is worth more than it costs. Up to 6 (AVX2) or 8 rows (AVX-512) take the
/// path of few rows, which is bound by reading. A pair that only together is too many for it gains
/// less than it loses: 4 and 4 rows over 4096 keys took 1.1 of the time (AVX2), 8 and 8 rows 1.16
/// (AVX-512, both on a Zen 4). Three and more never lost.
bool pays(const Sequences& sequences, const Group& group, std::int64_t heads) {
  if (group.last - group.first != 2) return group.last - group.first > 2;
  const std::int64_t x = sequences.plan[group.first].q_len * heads;
  const std::int64_t y = sequences.plan[group.first + 1].q_len * heads;
  return x + y <= 6 || std::min(x, y) > 8;
}

void add_prefix(const Sequences& sequences, const Group& group, Sequences& prefixes) {
  std::int64_t q_len = 0;
  for (std::size_t s = group.first; s < group.last; ++s) q_len += sequences.plan[s].q_len;
  prefixes.plan.push_back({q_len, group.keys, -kUnlimited, kUnlimited});
  prefixes.places.push_back(sequences.places[group.first]);
}

/// A sequence without its first `keys` keys, all of which its queries see.
void add_rest(const Sequences& sequences, std::size_t s, const PageLayout& pages, std::int64_t keys,
              Sequences& rests) {
  PlanSequence plan = sequences.plan[s];
  plan.kv_len -= keys;
  plan.visible_begin -= keys;
  plan.visible_end -= keys;
  plan.visible_prefix -= keys;
  plan.visible_limit -= keys;
  SequencePlace place = sequences.places[s];
  place.k_pages += keys / pages.keys;
  place.v_pages += keys / pages.keys;
  place.goes_on = keys > 0;
  rests.plan.push_back(plan);
  rests.places.push_back(place);
}

/// Options by which a query or key is told from others by more than its row of q.
bool can_cascade(const AttentionOptions& options) {
  return options.alibi_slopes.empty() && !options.score_callback &&
         options.bool_mask.values.data == nullptr && options.bias.data == nullptr &&
         options.weights.data == nullptr && options.weight_sums.data == nullptr &&
         !options.state_in;
}

/// The position of every row of q, for a rotation: those of a group are not consecutive.
void find_positions(const Sequences& sequences, std::int64_t q_rows,
                    std::vector<std::int64_t>& positions) {
  positions.assign(static_cast<std::size_t>(q_rows), 0);
  for (std::size_t s = 0; s < sequences.plan.size(); ++s) {
    const SequencePlace& at = sequences.places[s];
    std::iota(positions.begin() + at.q_row, positions.begin() + at.q_row + sequences.plan[s].q_len,
              at.query_offset);
  }
}

AttentionState<float> state_in(AlignedBuffer& buffer, const TensorView<float, 4>& out) {
  const std::int64_t rows = out.shape[1] * out.shape[2];
  float* floats = buffer.reserve(rows * (out.shape[3] + 2));
  const TensorView<float, 3>::Index extents{1, out.shape[1], out.shape[2]};
  return {{floats, extents}, {floats + rows, extents}, {floats + 2 * rows, out.shape}};
}

}  // namespace

bool find_cascade(const PageLayout& pages, const Sequences& sequences, std::int64_t heads,
                  Cascade& cascade) {
  cascade.prefixes.clear();
  cascade.rests.clear();
  for (std::size_t s = 0; s < sequences.plan.size();) {
    Group group = group_from(pages, sequences, s);
    if (pays(sequences, group, heads)) {
      add_prefix(sequences, group, cascade.prefixes);
    } else {
      group = {s, s + 1, 0};
    }
    for (; s < group.last; ++s) add_rest(sequences, s, pages, group.keys, cascade.rests);
  }
  return !cascade.prefixes.plan.empty();
}

bool attend_cascade(const AttentionTensors& tensors, const AttentionOptions& options,
                    const Sequences& sequences, const CallbackOfCall& callback) {
  thread_local Cascade cascade;
  thread_local AlignedBuffer states;
  thread_local std::vector<std::int64_t> positions;
  if (tensors.pages == nullptr || sequences.plan.size() < 2) return false;
  if (tensors.out.shape[3] == 0 || !can_cascade(options)) return false;
  const std::int64_t heads = tensors.q.shape[1] / tensors.k.shape[1];
  if (!find_cascade(*tensors.pages, sequences, heads, cascade)) return false;

  const AttentionState<float> state = state_in(states, tensors.out);
  AttentionOptions rest = options;
  rest.state_in = state;
  if (RopeOptions& rope = rest.rope; rope.table.cos.data != nullptr && !rope.q_positions.data) {
    find_positions(sequences, tensors.q.shape[2], positions);
    rope.q_positions = {positions.data(), {1, tensors.q.shape[2]}};
  }
  AttentionOptions prefix = rest;
  prefix.state_in = {};
  prefix.state_out = state;
  // Both write `out` and `lse`, the second time with what counts.
  plan_and_run(tensors, prefix, cascade.prefixes, callback);
  plan_and_run(tensors, rest, cascade.rests, callback);
  return true;
}

}  // namespace rapt
