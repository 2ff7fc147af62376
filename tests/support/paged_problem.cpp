#include "support/paged_problem.hpp"

#include "rapt/paged.hpp"
#include "rapt/rms_norm.hpp"
#include "rapt/rope.hpp"
#include "support/typed.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// The keys in stored form, normalised and rotated, and options that match.
struct ReadyKeys {
  ReadyKeys(const Problem& problem, const Cuts& cuts, const Outputs& outputs)
      : options(cut_options(problem, cuts, outputs)), keys(problem.k) {
    const bool norm = options.qk_norm && options.qk_norm->normalize_keys;
    const bool rotate = options.rope.table.cos.data != nullptr && options.rope.rotate_keys;
    if (!norm && !rotate) return;
    storage.assign(static_cast<std::size_t>(keys.size()), kNaN);
    keys = {storage.data(), problem.k.shape};
    for (std::size_t s = 0; s + 1 < cuts.kv.size(); ++s) {
      const std::int64_t first = cuts.first_key(s);
      make_ready(problem.k.sliced(2, first, cuts.keys(s)), first, norm, rotate);
    }
    if (norm) {
      options.qk_norm->normalize_keys = false;
      options.qk_norm->k_weight = {};
    }
    if (rotate) {
      options.rope.rotate_keys = false;
      options.rope.k_positions = {};
    }
  }

  /// The keys of one sequence, the first of which is packed row `row`.
  void make_ready(TensorView<const float, 4> from, std::int64_t row, bool norm, bool rotate) {
    const std::int64_t count = from.shape[2];
    const TensorView<float, 4> to = keys.sliced(2, row, count);
    if (norm) {
      rms_norm(from, to, options.qk_norm->k_weight, options.qk_norm->epsilon);
      from = to;
    }
    if (!rotate) return;
    if (options.rope.k_positions.data == nullptr) {
      apply_rope(from, to, options.rope.table);
    } else {
      apply_rope(from, to, options.rope.table, options.rope.k_positions.sliced(1, row, count));
    }
  }

  std::vector<float> storage;
  AttentionOptions options;
  TensorView<float, 4> keys;
};

/// A cache sequence that finally has the tokens [first, last) of k and v.
class Feeder {
 public:
  Feeder(KvCache& cache, const TensorView<float, 4>& k, const TensorView<float, 4>& v,
         Random& random)
      : cache_(cache), k_(k), v_(v), random_(random) {}

  std::int64_t feed(std::int64_t first, std::int64_t last) {
    return append_in_steps(cache_.add(), first, last);
  }

  /// feed() into a fork of a sequence that has the tokens from 0 on.
  std::int64_t feed_fork(std::int64_t parent, std::int64_t last) {
    const std::int64_t sequence = cache_.fork(parent);
    const std::int64_t first = std::min(cache_.length(parent), last);
    cache_.truncate(sequence, first);
    return append_in_steps(sequence, first, last);
  }

 private:
  std::int64_t append_in_steps(std::int64_t sequence, std::int64_t first, std::int64_t last) {
    while (first < last) {
      const std::int64_t count = 1 + random_.below(last - first);
      if (random_.below(4) == 0) take_back(sequence);
      if (random_.below(4) == 0) sequence = fork_of(sequence);
      cache_.append(sequence, packed(k_.sliced(2, first, count)),
                    packed(v_.sliced(2, first, count)));
      first += count;
    }
    return sequence;
  }

  void append_nan(std::int64_t sequence) {
    const std::int64_t count = 1 + random_.below(70);
    const std::vector<float> nan(
        static_cast<std::size_t>(count * k_.shape[1] * std::max(k_.shape[3], v_.shape[3])), kNaN);
    cache_.append(sequence, {nan.data(), {count, k_.shape[1], k_.shape[3]}},
                  {nan.data(), {count, v_.shape[1], v_.shape[3]}});
  }

  void take_back(std::int64_t sequence) {
    const std::int64_t length = cache_.length(sequence);
    append_nan(sequence);
    cache_.truncate(sequence, length);
  }

  /// After the fork the parent gets other tokens, or is removed.
  std::int64_t fork_of(std::int64_t sequence) {
    const std::int64_t child = cache_.fork(sequence);
    if (random_.below(2) == 0) {
      append_nan(sequence);
    } else {
      cache_.remove(sequence);
    }
    return child;
  }

  KvCache& cache_;
  const TensorView<float, 4>&k_, &v_;
  Random& random_;
};

/// Page numbers in random order, each once.
std::vector<std::int64_t> shuffled(std::int64_t count, Random& random) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  for (std::int64_t n = count - 1; n > 0; --n) {
    std::swap(numbers[static_cast<std::size_t>(n)],
              numbers[static_cast<std::size_t>(random.below(n + 1))]);
  }
  return numbers;
}

/// Copies token `row` of [1, heads, tokens, dim] to a page's token.
void copy_token(const TensorView<float, 4>& from, std::int64_t row,
                const TensorView<float, 4>& pages, std::int64_t page, std::int64_t at) {
  for (std::int64_t h = 0; h < from.shape[1]; ++h) {
    const float* token = &from(0, h, row, 0);
    std::copy(token, token + from.shape[3], &pages(page, at, h, 0));
  }
}

}  // namespace

bool can_be_paged(const Spec& spec) { return spec.shape.value_dim > 0; }

bool can_be_cached(const Spec& spec, const Cuts& cuts) {
  for (std::size_t s = 0; s + 1 < cuts.q.size(); ++s) {
    if (cuts.q[s + 1] - cuts.q[s] > cuts.keys(s)) return false;
  }
  return spec.mask.align == Mask::Align::bottom_right;
}

bool changes_keys(const Spec& spec) {
  return (spec.rope && spec.rope_rotate_keys) || (spec.qk_norm && spec.qk_norm_keys);
}

Outputs run_cached(CacheFunction& function, const Problem& problem, const Cuts& cuts, Random random,
                   bool as_bytes) {
  const Shape& s = problem.spec.shape;
  const Types& types = problem.spec.types;
  // A cache of the tensors' type holds them exactly.
  const bool exact = types.k == types.v && !changes_keys(problem.spec);
  KvCache cache({.kv_heads = s.kv_heads,
                 .head_dim = s.head_dim,
                 .value_dim = s.value_dim,
                 .page_tokens = std::int64_t{32} << random.below(4),
                 .dtype = as_bytes ? DType::i8
                          : exact  ? types.k
                                   : DType::f32});
  Outputs got = outputs_of(problem, cuts);
  const ReadyKeys ready(problem, cuts, got);
  std::vector<std::int64_t> sequences;
  Feeder feeder(cache, ready.keys, problem.v, random);
  for (std::size_t n = 0; n + 1 < cuts.kv.size(); ++n) {
    const std::int64_t first = cuts.first_key(n), last = first + cuts.keys(n);
    sequences.push_back(cuts.from_start && n > 0 ? feeder.feed_fork(sequences.back(), last)
                                                 : feeder.feed(first, last));
  }
  function(packed(problem.typed_q), cache, {.sequences = sequences, .rows = cuts.q},
           packed(got.typed_out), ready.options);
  got.widen();
  return got;
}

Outputs run_paged(const Problem& problem, const Cuts& cuts, Random random) {
  const Shape& s = problem.spec.shape;
  // Multiples of 16 too, over which few rows are read in place.
  const std::int64_t page_size = random.below(3) == 0
                                     ? 16 * (1 + random.below(20))
                                     : 1 + random.below(random.below(2) == 0 ? 20 : 300);
  const auto sequences = std::ssize(cuts.kv) - 1;
  const std::int64_t columns = s.kv_len / page_size + 1;
  Outputs got = outputs_of(problem, cuts);
  const ReadyKeys ready(problem, cuts, got);
  std::vector<std::int64_t> table = shuffled(sequences * columns, random);
  if (cuts.from_start) {
    for (std::size_t n = static_cast<std::size_t>(columns); n < table.size(); ++n) {
      table[n] = table[n - static_cast<std::size_t>(columns)];
    }
  }
  const std::vector<std::int32_t> narrow(table.begin(), table.end());
  const auto floats = [&](std::int64_t dim) {
    return std::vector<float>(
        static_cast<std::size_t>(sequences * columns * page_size * s.kv_heads * dim), kNaN);
  };
  std::vector<float> k_floats = floats(s.head_dim), v_floats = floats(s.value_dim);
  // A page has the heads of a token side by side, or the tokens of one head after the other's.
  const bool by_head = random.below(2) == 0;
  const auto pages_of = [&](std::vector<float>& memory, std::int64_t dim) {
    const std::int64_t count = sequences * columns;
    if (!by_head) return TensorView<float, 4>(memory.data(), {count, page_size, s.kv_heads, dim});
    const TensorView<float, 4> heads(memory.data(), {count, s.kv_heads, page_size, dim});
    return heads.swapped(1, 2);
  };
  const TensorView<float, 4> k = pages_of(k_floats, s.head_dim),
                             v = pages_of(v_floats, s.value_dim);
  std::vector<std::int64_t> lens;
  for (std::size_t n = 0; n + 1 < cuts.kv.size(); ++n) {
    lens.push_back(cuts.keys(n));
    for (std::int64_t t = 0; t < lens.back(); ++t) {
      const std::int64_t entry = static_cast<std::int64_t>(n) * columns + t / page_size;
      const std::int64_t page = table[static_cast<std::size_t>(entry)];
      copy_token(ready.keys, cuts.first_key(n) + t, k, page, t % page_size);
      copy_token(problem.v, cuts.first_key(n) + t, v, page, t % page_size);
    }
  }
  // Keys that were normalised or rotated are floats.
  const DType k_type = ready.storage.empty() ? problem.spec.types.k : DType::f32;
  std::vector<std::uint16_t> k_memory, v_memory;
  PagedKeyValues pages{.k = typed_view(k, k_floats, k_type, k_memory),
                       .v = typed_view(v, v_floats, problem.spec.types.v, v_memory),
                       .kv_lens = lens};
  if (random.below(2) == 0) {
    pages.table = TensorView<const std::int32_t, 2>(narrow.data(), {sequences, columns});
  } else {
    pages.table = TensorView<const std::int64_t, 2>(table.data(), {sequences, columns});
  }
  attention(packed(problem.typed_q), pages, cuts.q, packed(got.typed_out), ready.options);
  got.widen();
  return got;
}

}  // namespace rapt::test
