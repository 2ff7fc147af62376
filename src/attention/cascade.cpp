#include "attention/cascade.hpp"

#include "core/tuning.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <numeric>
#include <span>

namespace rapt {
namespace {

using kernels::kKeyBlock;
using kernels::kUnlimited;

/// Every query of the sequence sees the keys [0, n).
std::int64_t seen_from_start(const PlanSequence& sequence) {
  if (sequence.q_len < 1 || sequence.q_len > tuning::kCascadeQueries) return 0;
  if (first_visible(sequence.visible, sequence.q_len - 1) > 0) return 0;
  return std::max<std::int64_t>(
      0, end_of_visible(sequence.visible, 0));  // a query may be before key 0
}

/// Sequences s and t hold the keys [0, n) in the same pages, and all queries of both see them; n is
/// a multiple of the key block and of the page.
std::int64_t shared_keys(const PageLayout& pages, const Sequences& sequences, std::size_t s,
                         std::size_t t) {
  const SequencePlace &x = sequences.places[s], &y = sequences.places[t];
  const std::int64_t most =
      std::min(seen_from_start(sequences.plan[s]), seen_from_start(sequences.plan[t])) / pages.keys;
  std::int64_t same = 0;
  while (same < most && x.k_pages[same] == y.k_pages[same] && x.v_pages[same] == y.v_pages[same]) {
    ++same;
  }
  if (same == 0) return 0;  // pages may be too long for the product
  const std::int64_t unit = std::lcm(pages.keys, std::int64_t{kKeyBlock});
  return same * pages.keys / unit * unit;  // NOLINT(clang-analyzer-core.DivideZero): keys >= 1
}

/// Sorts the sequences by the pages that all their queries see: sequences with a common beginning
/// become adjacent, those with longer ones closer.
void sort_by_beginning(const PageLayout& pages, const Sequences& sequences,
                       std::vector<std::size_t>& order) {
  order.resize(sequences.plan.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto beginning = [&](std::size_t s) {
    const auto count = static_cast<std::size_t>(seen_from_start(sequences.plan[s]) / pages.keys);
    return std::span(sequences.places[s].k_pages, count);
  };
  std::sort(order.begin(), order.end(), [&](std::size_t s, std::size_t t) {
    const auto x = beginning(s), y = beginning(t);
    const auto [p, q] = std::mismatch(x.begin(), x.end(), y.begin(), y.end());
    if (p != x.end() && q != y.end()) return std::less<>()(*p, *q);
    return x.size() != y.size() ? x.size() < y.size() : s < t;
  });
}

/// The sequences at [first, last) of the order, which share their first `keys` keys.
struct Group {
  std::size_t first, last;
  std::int64_t keys;

  /// Reads of keys that the group saves.
  std::int64_t saved() const { return static_cast<std::int64_t>(last - first - 1) * keys; }
};

/// The group that starts at this sequence; grows while another member saves more than it costs.
Group group_from(const PageLayout& pages, const Sequences& sequences,
                 const std::vector<std::size_t>& order, std::size_t first) {
  Group group{first, first + 1, kUnlimited};
  while (group.last < order.size()) {
    const std::int64_t keys =
        std::min(group.keys, shared_keys(pages, sequences, order[first], order[group.last]));
    const Group longer{first, group.last + 1, keys};
    if (keys == 0 || longer.saved() < group.saved()) break;
    group = longer;
  }
  return group;
}

/// Whether the saved reads are worth the group's cost. The decode path is limited by reading. A
/// pair whose combined rows exceed that path is slower than two calls: 4 + 4 rows over 4096 keys
/// took 1.1x (AVX2), 8 + 8 rows 1.16x (AVX-512, both on a Zen 4). Groups of three and more never
/// lost.
bool saves_time(const Sequences& sequences, const Cascade& cascade, const Group& group,
                std::int64_t heads, std::int64_t stream_rows) {
  if (group.last - group.first != 2) return group.last - group.first > 2;
  const std::int64_t x = sequences.plan[cascade.order[group.first]].q_len * heads;
  const std::int64_t y = sequences.plan[cascade.order[group.first + 1]].q_len * heads;
  return x + y <= stream_rows || std::min(x, y) > stream_rows;
}

/// Adds the shared keys of a group, and to its members the rows of their states.
void add_group(const Sequences& sequences, const Group& group, Cascade& cascade) {
  SequencePlace place = sequences.places[cascade.order[group.first]];
  place.q_row = static_cast<std::int64_t>(cascade.rows.size());
  for (std::size_t i = group.first; i < group.last; ++i) {
    const std::size_t s = cascade.order[i];
    SequencePlace& suffix = cascade.suffixes.places[s];
    suffix.state_shift = static_cast<std::int64_t>(cascade.rows.size()) - suffix.q_row;
    for (std::int64_t q = 0; q < sequences.plan[s].q_len; ++q) {
      cascade.rows.push_back(suffix.q_row + q);
    }
    cascade.suffixes.plan[s].visible.first_key = group.keys;
    suffix.continues = true;
  }
  const std::int64_t q_len = static_cast<std::int64_t>(cascade.rows.size()) - place.q_row;
  cascade.prefixes.plan.push_back({q_len, {.kv_len = group.keys}});
  cascade.prefixes.places.push_back(place);
}

/// No option depends on a query or key beyond its row of q.
bool can_cascade(const AttentionOptions& options) {
  return options.alibi_slopes.empty() && !options.score_callback &&
         options.bool_mask.values.data == nullptr && options.bias.data == nullptr &&
         options.weights.data == nullptr && options.weight_sums.data == nullptr &&
         !options.state_in;
}

/// Allocates `count` rows of the call's heads and copies the queries into them.
void copy_queries(const AttentionTensors& tensors, const std::vector<std::int64_t>& from,
                  GroupQueries& rows) {
  const auto count = static_cast<std::int64_t>(from.size());
  const std::int64_t heads = tensors.q.shape[1];
  const std::int64_t head_dim = tensors.q.shape[3], value_dim = tensors.out.shape[3];
  // Of any type: a float has room for each element.
  float* at = rows.floats.reserve(count * heads * (head_dim + 2 * value_dim + 2));
  const auto take = [&](std::int64_t width) {
    const TensorView<float, 4> view(at, {1, heads, count, width});
    at += count * heads * width;
    return view;
  };
  const TensorView<float, 3>::Index extents{1, heads, count};
  const TensorView<const void, 4>& q = tensors.q;
  const TensorView<void, 4> copies(take(head_dim).data, q.dtype, {1, heads, count, head_dim});
  rows.q = copies;
  rows.out = take(value_dim);
  rows.state = {{take(1).data, extents}, {take(1).data, extents}, take(value_dim)};
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t row = 0; row < count; ++row) {
      const std::int64_t source = from[static_cast<std::size_t>(row)];
      std::memcpy(copies.at((h * count + row) * head_dim),
                  q.at(h * q.strides[1] + source * q.strides[2]),
                  static_cast<std::size_t>(head_dim) * dtype_size(q.dtype));
    }
  }
}

/// The positions of the copied queries, for RoPE.
void find_positions(const Sequences& sequences, const Cascade& cascade,
                    const TensorView<const std::int64_t, 2>& given,
                    std::vector<std::int64_t>& positions) {
  positions.resize(cascade.rows.size());
  for (std::size_t s = 0; s < sequences.plan.size(); ++s) {
    const SequencePlace &at = sequences.places[s], &suffix = cascade.suffixes.places[s];
    if (!suffix.continues) continue;
    for (std::int64_t q = 0; q < sequences.plan[s].q_len; ++q) {
      positions[static_cast<std::size_t>(at.q_row + suffix.state_shift + q)] =
          given.data != nullptr ? given(0, at.q_row + q) : at.query_offset + q;
    }
  }
}

}  // namespace

bool find_cascade(const PageLayout& pages, const Sequences& sequences, std::int64_t heads,
                  std::int64_t stream_rows, Cascade& cascade) {
  cascade.prefixes.clear();
  cascade.suffixes = sequences;
  for (SequencePlace& place : cascade.suffixes.places) place.continues = false;
  cascade.rows.clear();
  sort_by_beginning(pages, sequences, cascade.order);
  for (std::size_t i = 0; i < cascade.order.size();) {
    Group group = group_from(pages, sequences, cascade.order, i);
    if (saves_time(sequences, cascade, group, heads, stream_rows)) {
      add_group(sequences, group, cascade);
      i = group.last;
    } else {
      ++i;
    }
  }
  return !cascade.prefixes.plan.empty();
}

bool make_cascade(const AttentionTensors& tensors, const AttentionOptions& options,
                  const Sequences& sequences, std::int64_t stream_rows, Cascade& cascade) {
  if (sequences.plan.size() < 2) return false;
  if (tensors.out.shape[3] == 0 || !can_cascade(options)) return false;
  const std::int64_t heads = tensors.q.shape[1] / tensors.k.shape[1];
  if (!find_cascade(*tensors.pages, sequences, heads, stream_rows, cascade)) return false;
  copy_queries(tensors, cascade.rows, cascade.queries);
  if (options.rope.table.cos.data != nullptr) {
    find_positions(sequences, cascade, options.rope.q_positions, cascade.queries.positions);
  }
  return true;
}

AttentionOptions prefix_options(const AttentionOptions& options, const Cascade& cascade) {
  const GroupQueries& queries = cascade.queries;
  AttentionOptions prefix = options;
  prefix.state_out = queries.state;
  prefix.lse = {};
  if (options.rope.table.cos.data != nullptr) {
    prefix.rope.q_positions = {queries.positions.data(), {1, std::ssize(queries.positions)}};
  }
  return prefix;
}

}  // namespace rapt
