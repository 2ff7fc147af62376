// Caches of bf16, f16 and bytes: what they hold, what that does to results, and wrong types.
#include "rapt/kv_cache.hpp"
#include "reference/naive64.hpp"
#include "reference/scalar.hpp"
#include "support/bounds.hpp"
#include "support/on_every_isa.hpp"
#include "support/paged_problem.hpp"
#include "support/problems.hpp"
#include "support/ragged_problem.hpp"
#include "support/sentence_of.hpp"
#include "support/typed.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

constexpr std::int64_t kKvHeads = 2, kDim = 24;

/// Tokens [n, kKvHeads, kDim] of keys and values, and queries of the last ones.
struct Tokens {
  std::int64_t count;
  std::vector<float> k, v;

  explicit Tokens(std::int64_t n, std::uint64_t seed = 1)
      : count(n), k(static_cast<std::size_t>(n * kKvHeads * kDim)), v(k.size()) {
    Random random(seed);
    for (float& x : k) x = random.normal();
    for (float& x : v) x = random.normal();
  }

  TensorView<const float, 3> rows(const std::vector<float>& of) const {
    return {of.data(), {count, kKvHeads, kDim}};
  }
};

/// Results of `rows` queries over the whole cache, each query of value 1 in all components.
std::vector<float> results(const KvCache& cache, std::int64_t sequence, std::int64_t rows) {
  std::vector<float> q(static_cast<std::size_t>(rows * 2 * kKvHeads * kDim), 0.25f);
  std::vector<float> out(q.size());
  attention({q.data(), {rows, 2 * kKvHeads, kDim}}, cache, sequence,
            {out.data(), {rows, 2 * kKvHeads, kDim}}, {.mask = causal()});
  return out;
}

KvCache cache_of(DType type) {
  return KvCache({.kv_heads = kKvHeads, .head_dim = kDim, .page_tokens = 32, .dtype = type});
}

Spec byte_spec(std::uint64_t seed) {
  Spec spec;
  spec.shape = {1, 4, 2, 5, 700, 40, 48};
  spec.mask = causal_bottom_right();
  spec.lse = true;
  spec.seed = seed;
  return spec;
}

}  // namespace

TEST_CASE("a cache holds f32 tokens rounded to its type, and tokens of its type exactly") {
  on_every_isa([] {
    for (const DType type : {DType::bf16, DType::f16}) {
      CAPTURE(dtype_name(type));
      const Tokens tokens(100);
      KvCache rounding = cache_of(type), exact = cache_of(type), floats = cache_of(DType::f32);
      const std::int64_t a = rounding.add(), b = exact.add(), c = floats.add();
      rounding.append(a, tokens.rows(tokens.k), tokens.rows(tokens.v));
      std::vector<std::uint16_t> k_memory, v_memory;
      std::vector<float> k = tokens.k, v = tokens.v;
      round_to(type, k);
      round_to(type, v);
      const TensorView<float, 3> k_view(k.data(), {100, kKvHeads, kDim});
      const TensorView<float, 3> v_view(v.data(), {100, kKvHeads, kDim});
      exact.append(b, typed_view(k_view, k, type, k_memory), typed_view(v_view, v, type, v_memory));
      floats.append(c, k_view, v_view);
      for (const std::int64_t rows : {1, 2, 30}) {
        const std::vector<float> want = results(floats, c, rows);
        CHECK(same_bits(results(rounding, a, rows), want));
        CHECK(same_bits(results(exact, b, rows), want));
      }
    }
  });
}

TEST_CASE("a cache of bytes has the scalar statement's bits, with many rows and with few") {
  on_every_isa([] {
    for (const std::int64_t q_len : {1, 2, 5, 60}) {
      Spec spec = byte_spec(3);
      spec.shape.q_len = q_len;
      const Problem problem(spec);
      const Cuts whole{.q = {0, q_len}, .kv = {0, spec.shape.kv_len}};
      const Outputs want = run_ragged_statement(problem, whole, true);
      CHECK(same_bits(run_cached(attention, problem, whole, Random(5), true), want));
    }
  });
}

TEST_CASE("results over a cache of bytes are within the bound of those over its rows in float64") {
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Problem problem(byte_spec(seed));
    const Shape& s = problem.spec.shape;
    const Cuts whole{.q = {0, s.q_len}, .kv = {0, s.kv_len}};
    const Outputs got = run_cached(attention, problem, whole, Random(seed), true);
    // The rows as floats: i * scale, rounded once more than the cache's own order rounds.
    std::vector<float> k, v;
    for (const auto& [from, to] : {std::pair(&problem.k, &k), std::pair(&problem.v, &v)}) {
      for (std::int64_t h = 0; h < s.kv_heads; ++h) {
        for (std::int64_t t = 0; t < s.kv_len; ++t) {
          std::vector<float> row;
          for (std::int64_t d = 0; d < from->shape[3]; ++d) row.push_back((*from)(0, h, t, d));
          const reference::ByteRow bytes = reference::to_bytes(row);
          for (std::size_t d = 0; d < row.size(); ++d) {
            to->push_back(bytes.integers[d] * bytes.scale);
            // Half a step of the integers, and a rounding of the factor.
            CHECK(std::abs(row[d] - to->back()) <= 0.5f * bytes.scale * (1.0f + 0x1p-14f));
          }
        }
      }
    }
    AttentionOptions options = problem.options;
    const reference::Attention64 want =
        reference::attention64(problem.q, {k.data(), {1, s.kv_heads, s.kv_len, s.head_dim}},
                               {v.data(), {1, s.kv_heads, s.kv_len, s.value_dim}}, options);
    std::size_t at = 0;
    for (std::int64_t h = 0; h < s.heads; ++h) {
      for (std::int64_t i = 0; i < s.q_len; ++i) {
        const double sum = want.score_sum[static_cast<std::size_t>(h * s.q_len + i)];
        for (std::int64_t d = 0; d < s.value_dim; ++d, ++at) {
          const double bound =
              out_bound(sum, want.value_sum[at]) + bytes_bound(sum, want.value_sum[at]);
          CHECK(std::abs(double{got.out(0, h, i, d)} - want.out[at]) <= bound);
        }
      }
    }
  }
}

TEST_CASE("a NaN or infinite row of bytes makes NaN exactly the queries that see it") {
  on_every_isa([] {
    for (const float bad : {kNaN, std::numeric_limits<float>::infinity()}) {
      for (const bool in_keys : {true, false}) {
        Tokens tokens(70);
        std::vector<float>& rows = in_keys ? tokens.k : tokens.v;
        rows[static_cast<std::size_t>((40 * kKvHeads + 1) * kDim + 3)] = bad;  // token 40, head 1
        KvCache cache = cache_of(DType::i8);
        const std::int64_t sequence = cache.add();
        cache.append(sequence, tokens.rows(tokens.k), tokens.rows(tokens.v));
        const std::vector<float> out = results(cache, sequence, 70);
        for (std::int64_t i = 0; i < 70; ++i) {
          for (std::int64_t h = 0; h < 2 * kKvHeads; ++h) {
            const bool sees = i >= 40 && h / 2 == 1;
            for (std::int64_t d = 0; d < kDim; ++d) {
              const float x = out[static_cast<std::size_t>((i * 2 * kKvHeads + h) * kDim + d)];
              if (std::isnan(x) != sees) FAIL("query " << i << ", head " << h << ": " << x);
            }
          }
        }
      }
    }
  });
}

TEST_CASE("rows of zeros and rows too small for bytes are zeros in a cache of bytes") {
  on_every_isa([] {
    for (const float small : {0.0f, -0.0f, 0x1p-140f, -0x1.fp-120f}) {
      Tokens tokens(33);
      for (float& x : tokens.v) x = small;
      KvCache cache = cache_of(DType::i8);
      const std::int64_t sequence = cache.add();
      cache.append(sequence, tokens.rows(tokens.k), tokens.rows(tokens.v));
      for (const float x : results(cache, sequence, 1))
        CHECK(__builtin_bit_cast(std::uint32_t, x) == 0);
    }
  });
}

TEST_CASE("forks of a cache of bytes have their own tokens and scales") {
  const Tokens tokens(40), other(20, 2);
  KvCache cache = cache_of(DType::i8), plain = cache_of(DType::i8);
  const std::int64_t first = cache.add();
  cache.append(first, tokens.rows(tokens.k), tokens.rows(tokens.v));
  const std::int64_t fork = cache.fork(first), want = plain.add();
  cache.append(fork, other.rows(other.k), other.rows(other.v));
  cache.append(first, other.rows(other.v), other.rows(other.k));
  plain.append(want, tokens.rows(tokens.k), tokens.rows(tokens.v));
  plain.append(want, other.rows(other.k), other.rows(other.v));
  CHECK(same_bits(results(cache, fork, 3), results(plain, want, 3)));
}

TEST_CASE("a page has the bytes of its type, and of bytes two floats for each token and head") {
  const std::int64_t elements = 32 * kKvHeads * (kDim + 32);
  const auto page_bytes = [](DType type) { return cache_of(type).usage().page_bytes; };
  CHECK(page_bytes(DType::f32) == 4 * elements);
  CHECK(page_bytes(DType::bf16) == 2 * elements);
  CHECK(page_bytes(DType::f16) == 2 * elements);
  CHECK(page_bytes(DType::i8) == elements + 32 * kKvHeads * 2 * 4);
}

TEST_CASE("types that a cache cannot have are errors that name them") {
  CHECK(sentence_of([] { cache_of(DType::f64); }) ==
        "config.dtype: f64 is none of f32, bf16, f16 and i8");
  CHECK(sentence_of([] { cache_of(static_cast<DType>(77)); }) ==
        "config.dtype: other is none of f32, bf16, f16 and i8");
  const Tokens tokens(2);
  KvCache cache = cache_of(DType::i8);
  const std::int64_t sequence = cache.add();
  const TensorView<const void, 3> bytes(tokens.k.data(), DType::i8, {2, kKvHeads, kDim});
  CHECK(sentence_of([&] { cache.append(sequence, bytes, tokens.rows(tokens.v)); }) ==
        "k: type i8 is none of f32, bf16 and f16");
  CHECK(cache.length(sequence) == 0);
}

}  // namespace rapt::test
