// The decode path, compared with the scalar statement at each of its borders: of key blocks, of the
// steps of rows in a block, of the columns whose sums are in registers together.
#include "rapt/attention.hpp"
#include "reference/scalar.hpp"
#include "support/check_every_isa.hpp"
#include "support/on_every_isa.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace rapt::test {
namespace {

/// One query of each head; the heads of a kv head are the rows of an item.
Spec decoding(std::int64_t rows, std::int64_t kv_heads, std::int64_t kv_len, std::int64_t head_dim,
              std::int64_t value_dim) {
  Spec spec;
  spec.shape = {.heads = rows * kv_heads,
                .kv_heads = kv_heads,
                .kv_len = kv_len,
                .head_dim = head_dim,
                .value_dim = value_dim};
  spec.lse = true;
  return spec;
}

std::vector<std::int64_t> row_counts() {
  if (quick()) return {1, 4};
  return {1, 2, 3, 4, 5, 6, 7, 8};
}

}  // namespace

TEST_CASE("decoding: key blocks end at any key") {
  for (const std::int64_t rows : row_counts()) {
    for (const std::int64_t kv_len : {2048, 2049, 2304, 4097}) {
      if (quick() && kv_len == 2304) continue;
      check_every_isa(decoding(rows, 1, kv_len, 128, 128));
    }
  }
}

TEST_CASE("decoding: every number of vectors in a row of values") {
  for (const std::int64_t rows : row_counts()) {
    for (std::int64_t value_dim = 8; value_dim <= (quick() ? 136 : 288); value_dim += 8) {
      check_every_isa(decoding(rows, 1, 521, 16, value_dim));
    }
  }
}

TEST_CASE("decoding: long rows over several blocks") {
  for (const std::int64_t rows : row_counts()) {
    for (const std::int64_t dim : {192, 256, 512}) {
      check_every_isa(decoding(rows, 1, 611, dim, dim));
      check_every_isa(decoding(rows, 1, 611, 64, dim));
    }
  }
}

TEST_CASE("decoding: rows with gaps, over several key blocks") {
  for (const Layout layout : {Layout::bshd, Layout::packed, Layout::padded}) {
    for (const std::int64_t rows : row_counts()) {
      for (const std::int64_t dim : {64, 128}) {
        Spec spec = decoding(rows, 2, 2321, dim, dim);
        spec.layout = layout;
        check_every_isa(spec);
      }
    }
  }
}

TEST_CASE("decoding: windows whose first block is partial") {
  constexpr std::int64_t kKeys = 2700;
  // The window's first key within its block: at and next to a group of keys, and at the block's
  // last keys.
  for (const std::int64_t first : {16, 40, 250, 256, 300}) {
    for (const std::int64_t value_dim : {64, 80, 128, 256}) {
      for (const std::int64_t rows : row_counts()) {
        if (quick() && value_dim != 128) continue;
        Spec spec = decoding(rows, 1, kKeys, 64, value_dim);
        spec.mask = causal(kKeys - 1).windowed(kKeys - 1 - first, 0);
        check_every_isa(spec);
      }
    }
  }
}

TEST_CASE("decoding: a window of a few keys begins and ends anywhere in its vectors") {
  for (std::int64_t first = 256; first < 256 + 32; first += quick() ? 5 : 1) {
    for (std::int64_t kv_len = first + 1; kv_len <= 256 + 49; kv_len += quick() ? 3 : 1) {
      Spec spec = decoding(2, 1, kv_len, 16, 16);
      spec.mask = causal(kv_len - 1).windowed(kv_len - 1 - first, 0);
      check_every_isa(spec);
    }
  }
}

TEST_CASE("few rows: keys that are normalised and rotated, more than a run of blocks") {
  for (const std::int64_t rows : row_counts()) {
    Spec spec = decoding(rows, 1, 2400, 64, 64);
    spec.qk_norm = 1e-6f;
    spec.rope = Rope::half;
    check_every_isa(spec);
  }
}

TEST_CASE("decoding: optional outputs, over several key blocks") {
  for (const std::int64_t rows : row_counts()) {
    Spec spec = decoding(rows, 1, 2310, 64, 80);
    spec.weights = true;
    spec.weight_sums = WeightSums::per_kv_head;
    spec.state_in = true;
    spec.state_out = true;
    check_every_isa(spec);
  }
}

TEST_CASE("decoding: saved states, over several key blocks in an item") {
  for (const std::int64_t rows : row_counts()) {
    Spec spec = decoding(rows, 1, 256 * 40 + 17, 64, 64);
    spec.sink = 0.5f;
    const Problem problem(spec);
    const Outputs want = run(reference::attention, problem);
    on_every_isa({2, 3},
                 [&] { CHECK_MESSAGE(same_bits(run(attention, problem), want), rows, " rows"); });
  }
}

TEST_CASE("decoding: the stride of a single key is not used") {
  Spec spec = decoding(2, 1, 1, 64, 512);
  Problem problem(spec);
  const Outputs want = run(reference::attention, problem);
  problem.k.strides[2] = problem.v.strides[2] = std::int64_t{1} << 60;
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    CHECK_MESSAGE(same_bits(run(attention, problem), want), isa_name(isa));
  }
}

}  // namespace rapt::test
