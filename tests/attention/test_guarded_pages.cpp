// Attention over pages stays inside the caller's pages, and a cache inside the tensors of its
// calls: each tensor ends at an inaccessible memory page.
#include "rapt/rapt.hpp"
#include "reference/scalar.hpp"
#include "support/guarded_floats.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace rapt::test {
namespace {

using At = GuardedFloats::At;

struct Sizes {
  std::int64_t rows, keys, dim, value_dim;
};

constexpr std::int64_t kHeads = 4, kKvHeads = 2;

/// One sequence: packed rows of q and out, and tokens of k and v, [tokens, heads, dim].
class GuardedSequence {
 public:
  GuardedSequence(const Sizes& sizes, At at)
      : sizes_(sizes),
        rows_{0, sizes.rows},
        lengths_(1, at == At::end ? Longs::At::end : Longs::At::start),
        q_(count_of(sizes.rows * kHeads, sizes.dim), at),
        k_(count_of(sizes.keys * kKvHeads, sizes.dim), at),
        v_(count_of(sizes.keys * kKvHeads, sizes.value_dim), at),
        out_(count_of(sizes.rows * kHeads, sizes.value_dim), at),
        lse_(count_of(sizes.rows * kHeads, 1), at),
        sums_(count_of(sizes.keys * kKvHeads, 1), at) {
    std::uint64_t seed = 1;
    for (const GuardedFloats* buffer : {&q_, &k_, &v_}) fill_normal(*buffer, seed++);
    *lengths_.data() = sizes.keys;
  }

  /// The scalar statement over the tokens as one tensor.
  std::vector<float> statement() const {
    const auto [rows, keys, dim, value_dim] = sizes_;
    reference::attention(
        TensorView<const float, 4>(q_.data(), {1, rows, kHeads, dim}).swapped(1, 2),
        TensorView<const float, 4>(k_.data(), {1, keys, kKvHeads, dim}).swapped(1, 2),
        TensorView<const float, 4>(v_.data(), {1, keys, kKvHeads, value_dim}).swapped(1, 2),
        TensorView<float, 4>(out_.data(), {1, rows, kHeads, value_dim}).swapped(1, 2), options());
    return results();
  }

  /// The caller's pages: the tensors claim whole pages, but the last one is mapped only up to its
  /// last token.
  std::vector<float> paged(std::int64_t page_size) const {
    const std::int64_t pages = (sizes_.keys + page_size - 1) / page_size;
    const GuardedBuffer<std::int32_t> table(count_of(pages, 1),
                                            GuardedBuffer<std::int32_t>::At::end);
    for (std::int32_t p = 0; p < pages; ++p) table.data()[p] = p;
    attention(q(),
              {.k = {k_.data(), {pages, page_size, kKvHeads, sizes_.dim}},
               .v = {v_.data(), {pages, page_size, kKvHeads, sizes_.value_dim}},
               .table = TensorView<const std::int32_t, 2>(table.data(), {1, pages}),
               .kv_lens = {lengths_.data(), 1}},
              rows_, out(), options());
    return results();
  }

  /// Through a cache, appended in two parts.
  std::vector<float> cached(std::int64_t page_tokens) const {
    KvCache cache({.kv_heads = kKvHeads,
                   .head_dim = sizes_.dim,
                   .value_dim = sizes_.value_dim,
                   .page_tokens = page_tokens});
    const std::int64_t sequence = cache.add(), first = sizes_.keys / 3;
    const auto tokens = [&](const GuardedFloats& of, std::int64_t dim) {
      return TensorView<const float, 3>(of.data(), {sizes_.keys, kKvHeads, dim});
    };
    const TensorView<const float, 3> k = tokens(k_, sizes_.dim), v = tokens(v_, sizes_.value_dim);
    cache.append(sequence, k.sliced(0, 0, first), v.sliced(0, 0, first));
    const std::int64_t rest = sizes_.keys - first;
    cache.append(sequence, k.sliced(0, first, rest), v.sliced(0, first, rest));
    cross_attention(q(), cache, {.sequences = {&sequence, 1}, .rows = rows_}, out(), options());
    return results();
  }

 private:
  using Longs = GuardedBuffer<std::int64_t>;

  TensorView<const float, 3> q() const { return {q_.data(), {sizes_.rows, kHeads, sizes_.dim}}; }
  TensorView<float, 3> out() const {
    return {out_.data(), {sizes_.rows, kHeads, sizes_.value_dim}};
  }
  AttentionOptions options() const {
    AttentionOptions options{.mask = causal(sizes_.keys - 1)};
    options.lse = {lse_.data(), {1, kHeads, sizes_.rows}};
    options.weight_sums = {sums_.data(), {1, kKvHeads, sizes_.keys}};
    return options;
  }
  /// Returns all outputs and overwrites them.
  std::vector<float> results() const {
    std::vector<float> all = joined({&out_, &lse_, &sums_});
    for (const GuardedFloats* buffer : {&out_, &lse_, &sums_}) {
      std::fill(buffer->begin(), buffer->end(), -987.25f);
    }
    return all;
  }

  Sizes sizes_;
  std::vector<std::int64_t> rows_;
  Longs lengths_;
  GuardedFloats q_, k_, v_, out_, lse_, sums_;
};

/// Calls check(sequence, the scalar statement's results) for every ISA and tail shape.
template <class Check>
void for_every_shape(const Check& check) {
  const std::vector<std::int64_t> lengths =
      quick() ? std::vector<std::int64_t>{1, 33, 260}
              : std::vector<std::int64_t>{1, 2, 15, 17, 31, 32, 33, 63, 65, 255, 256, 257, 520};
  for (const At at : {At::end, At::start}) {
    for (const std::int64_t keys : lengths) {
      for (const std::int64_t rows : {1, 2, 5, 19}) {
        for (const std::int64_t dim : {1, 7, 16, 19, 33, 64}) {
          if (quick() && rows == 2) continue;
          const Sizes sizes{rows, keys, dim, dim == 64 ? 64 : 35 - dim};
          CAPTURE(keys);
          CAPTURE(rows);
          CAPTURE(dim);
          const GuardedSequence sequence(sizes, at);
          const std::vector<float> want = sequence.statement();
          for (const Isa isa : available_isas()) {
            CAPTURE(isa_name(isa));
            const ForcedIsa forced(isa);
            check(sequence, want);
          }
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("attention over the caller's pages stays inside them for every tail shape") {
  for_every_shape([](const GuardedSequence& sequence, const std::vector<float>& want) {
    for (const std::int64_t page_size : {1, 3, 16, 32, 100}) {
      CAPTURE(page_size);
      CHECK(same_bits(sequence.paged(page_size), want));
    }
  });
}

TEST_CASE("a cache reads and writes inside the tensors of its calls for every tail shape") {
  for_every_shape([](const GuardedSequence& sequence, const std::vector<float>& want) {
    for (const std::int64_t page_tokens : {32, 256}) {
      CAPTURE(page_tokens);
      CHECK(same_bits(sequence.cached(page_tokens), want));
    }
  });
}

}  // namespace rapt::test
