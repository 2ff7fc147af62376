// Each part of the attention kernels alone, on every ISA, against the plain loop that it
// implements.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/kernel_sets.hpp"
#include "reference/scalar.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

using kernels::KernelSet;
using kernels::kKeyBlock;
using kernels::kLanes;
using kernels::kPanel;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// The offset of element (r, k) of a row tile, and the size of a row tile.
std::size_t in_tile(const KernelSet& kernels, std::int64_t r, std::int64_t k) {
  return index((k / kLanes * kernels.tiles.rows + r) * kLanes + k % kLanes);
}
std::size_t tile_floats(const KernelSet& kernels, std::int64_t depth) {
  return index(round_up(depth, kLanes) * kernels.tiles.rows);
}

/// {1, L - 1, L, L + 1, 2 L + 3} of the kernel's own tile, without values below 1.
std::vector<std::int64_t> around(std::int64_t tile) {
  std::vector<std::int64_t> sizes{1, tile - 1, tile, tile + 1, 2 * tile + 3};
  std::erase_if(sizes, [](std::int64_t size) { return size < 1; });
  return sizes;
}

void check_scores(const KernelSet& kernels, std::int64_t rows, std::int64_t keys,
                  std::int64_t head_dim) {
  const std::vector<float> q = normal_floats(index(rows * head_dim), 1);
  const std::vector<float> k = normal_floats(index(keys * head_dim), 2);
  // Memory past the last row, dimension and key must not reach a score.
  std::vector<float> q_packed(tile_floats(kernels, head_dim), kNaN);
  std::vector<float> k_packed(index(round_up(keys, kPanel) * head_dim), kNaN);
  for (std::int64_t d = 0; d < head_dim; ++d) {
    for (std::int64_t r = 0; r < rows; ++r) {
      q_packed[in_tile(kernels, r, d)] = q[index(r * head_dim + d)];
    }
    for (std::int64_t j = 0; j < keys; ++j) {
      k_packed[index((j / kPanel * head_dim + d) * kPanel + j % kPanel)] =
          k[index(j * head_dim + d)];
    }
  }
  std::vector<float> s(tile_floats(kernels, kKeyBlock), 77.0f);
  kernels.scores({.q = q_packed.data(),
                  .k = k_packed.data(),
                  .head_dim = head_dim,
                  .rows = rows,
                  .keys = keys,
                  .s = s.data()});
  std::int64_t wrong = 0;
  for (std::int64_t r = 0; r < kernels.tiles.rows; ++r) {
    for (std::int64_t j = 0; j < kKeyBlock; ++j) {
      const bool wanted = r < rows && j < keys;
      if (!wanted && r < rows && j < round_up(keys, kPanel)) continue;
      float want = wanted ? 0.0f : 77.0f;
      for (std::int64_t d = 0; wanted && d < head_dim; ++d) {
        want = std::fma(q[index(r * head_dim + d)], k[index(j * head_dim + d)], want);
      }
      wrong += s[in_tile(kernels, r, j)] == want ? 0 : 1;
    }
  }
  CHECK_MESSAGE(wrong == 0, "rows ", rows, " keys ", keys, " head_dim ", head_dim);
}

/// The block softmax as specified, over the scores [begin, end) of `keys`.
std::vector<float> plain_softmax(const std::vector<float>& s, std::int64_t begin, std::int64_t end,
                                 std::int64_t keys, float& m, float& l) {
  m = -kInfinity;
  for (std::int64_t j = begin; j < end; ++j) m = s[index(j)] > m ? s[index(j)] : m;
  std::vector<float> p(index(keys), 0.0f);
  std::array<float, kLanes> lanes{};
  for (std::int64_t j = begin; j < end && m != -kInfinity; ++j) {
    p[index(j)] = reference::exp2(s[index(j)] - m);
    lanes[index(j % kLanes)] += p[index(j)];
  }
  for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::size_t t = 0; t < half; ++t) lanes[t] += lanes[t + half];
  }
  l = lanes[0];
  return p;
}

void check_softmax(const KernelSet& kernels, const std::vector<float>& scores, std::int64_t begin,
                   std::int64_t end, std::int64_t keys) {
  const std::int64_t row = kernels.tiles.rows - 1;
  // Outside [begin, end) memory may hold anything, and the other rows of the tile must not be
  // accessed.
  std::vector<float> s(tile_floats(kernels, kKeyBlock), 77.0f);
  for (std::int64_t j = 0; j < kKeyBlock; ++j) {
    s[in_tile(kernels, row, j)] = begin <= j && j < end ? scores[index(j)] : kNaN;
  }
  kernels::SoftmaxArgs args{
      .s = s.data() + row * kLanes, .begin = begin, .end = end, .keys = keys, .m = 0.0f, .l = 0.0f};
  kernels.softmax(args);
  float m = 0.0f;
  float l = 0.0f;
  const std::vector<float> want = plain_softmax(scores, begin, end, keys, m, l);
  std::vector<float> got;
  for (std::int64_t j = 0; j < keys; ++j) got.push_back(s[in_tile(kernels, row, j)]);
  CHECK_MESSAGE(same_bits(got, want), "begin ", begin, " end ", end, " keys ", keys);
  CHECK(args.m == m);
  CHECK(args.l == l);
  const auto untouched = std::count(s.begin(), s.end(), 77.0f);
  CHECK(untouched == kKeyBlock * row);
}

void check_values(const KernelSet& kernels, std::int64_t rows, std::int64_t keys,
                  std::int64_t columns) {
  const std::int64_t panels = round_up(columns, kPanel) / kPanel;
  const std::int64_t panel_stride = keys * kPanel;
  const std::int64_t o_stride = panels * kPanel;
  const std::vector<float> v = normal_floats(index(panels * panel_stride), 3);
  std::vector<float> p(tile_floats(kernels, keys), kNaN);
  const std::vector<float> weights = normal_floats(index(rows * keys), 4);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t j = 0; j < keys; ++j) {
      p[in_tile(kernels, r, j)] = weights[index(r * keys + j)];
    }
  }
  const std::vector<float> a = normal_floats(index(rows), 5);
  const std::vector<float> b = normal_floats(index(rows), 6);
  std::vector<float> o = normal_floats(index(rows * o_stride), 7);
  std::vector<float> want = o;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      float sum = 0.0f;
      for (std::int64_t j = 0; j < keys; ++j) {
        const std::int64_t at = c / kPanel * panel_stride + j * kPanel + c % kPanel;
        sum = std::fma(weights[index(r * keys + j)], v[index(at)], sum);
      }
      float& to = want[index(r * o_stride + c)];
      const float block = sum * b[index(r)];
      to = std::fma(to, a[index(r)], block);
    }
  }
  kernels.values({.p = p.data(),
                  .v = v.data(),
                  .v_stride = kPanel,
                  .panel_stride = panel_stride,
                  .keys = keys,
                  .rows = rows,
                  .columns = columns,
                  .a = a.data(),
                  .b = b.data(),
                  .o = o.data(),
                  .o_stride = o_stride});
  CHECK_MESSAGE(same_bits(o, want), "rows ", rows, " keys ", keys, " columns ", columns);
}

}  // namespace

TEST_CASE("rows packed into a row tile are scaled once") {
  on_every_kernel_set([](const KernelSet& kernels) {
    for (const std::int64_t depth : around(kLanes)) {
      for (const std::int64_t rows : around(kernels.tiles.rows)) {
        if (rows > kernels.tiles.rows) continue;
        const std::vector<float> x = normal_floats(rows * (depth + 3), 1);
        std::vector<float> tile(tile_floats(kernels, depth), kNaN);
        kernels.pack_rows({x.data(), depth + 3, rows, depth, 0.3f, tile.data()});
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t k = 0; k < depth; ++k) {
            CHECK(tile[in_tile(kernels, r, k)] == x[index(r * (depth + 3) + k)] * 0.3f);
          }
        }
      }
    }
  });
}

TEST_CASE("scores are chains of fused multiply-adds over ascending dimensions on every ISA") {
  on_every_kernel_set([](const KernelSet& kernels) {
    for (std::int64_t rows = 1; rows <= kernels.tiles.rows; ++rows) {
      for (const std::int64_t keys : around(kPanel)) check_scores(kernels, rows, keys, 19);
      check_scores(kernels, rows, kKeyBlock, 1);
    }
    for (const std::int64_t head_dim : {2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 300}) {
      check_scores(kernels, kernels.tiles.rows, 40, head_dim);
    }
  });
}

TEST_CASE("the block softmax sums its weights in sixteen lanes on every ISA") {
  std::vector<float> scores = normal_floats(index(kKeyBlock), 9);
  for (float& score : scores) score *= 20.0f;
  on_every_kernel_set([&scores](const KernelSet& kernels) {
    const std::vector<std::int64_t> ends{1, 2, 15, 16, 17, 31, 33, 100, 255, kKeyBlock};
    for (const std::int64_t end : ends) {
      for (const std::int64_t begin : {std::int64_t{0}, std::int64_t{1}, end / 2, end - 1, end}) {
        check_softmax(kernels, scores, begin, end, end);
        check_softmax(kernels, scores, begin, end, round_up(end, kLanes));
        check_softmax(kernels, scores, begin, end, kKeyBlock);
      }
    }
  });
}

TEST_CASE("the block softmax skips scores of -inf, and a block with only such scores is empty") {
  std::vector<float> scores = normal_floats(index(kKeyBlock), 10);
  for (std::int64_t j = 0; j < kKeyBlock; ++j) {
    if (j % 3 != 1) scores[index(j)] = -kInfinity;
  }
  const std::vector<float> nothing(index(kKeyBlock), -kInfinity);
  on_every_kernel_set([&](const KernelSet& kernels) {
    check_softmax(kernels, scores, 0, kKeyBlock, kKeyBlock);
    check_softmax(kernels, scores, 5, 47, 100);
    check_softmax(kernels, nothing, 0, kKeyBlock, kKeyBlock);
    check_softmax(kernels, nothing, 3, 18, 20);
  });
}

TEST_CASE("a NaN score reaches the sum of its block, and the maximum ignores it, on every ISA") {
  on_every_kernel_set([](const KernelSet& kernels) {
    for (const std::int64_t at : {0, 1, 7, 15, 16, 30}) {
      CAPTURE(at);
      for (const float others : {-kInfinity, 2.0f}) {
        std::vector<float> s(tile_floats(kernels, kKeyBlock), others);
        s[in_tile(kernels, 0, at)] = kNaN;
        kernels::SoftmaxArgs args{
            .s = s.data(), .begin = 0, .end = 31, .keys = 31, .m = 0.0f, .l = 0.0f};
        kernels.softmax(args);
        CHECK(args.m == others);
        CHECK(std::isnan(args.l));
      }
    }
  });
}

TEST_CASE("weighted values are chains over ascending keys, then one fold, on every ISA") {
  on_every_kernel_set([](const KernelSet& kernels) {
    const std::int64_t tile = kernels.tiles.columns;
    for (std::int64_t rows = 1; rows <= kernels.tiles.rows; ++rows) {
      for (const std::int64_t columns : {tile, 2 * tile, 3 * tile}) {
        check_values(kernels, rows, 21, columns);
      }
      for (const std::int64_t keys : {1, 15, 16, 17, 31, 32, 255, kKeyBlock}) {
        check_values(kernels, rows, keys, tile);
      }
    }
  });
}

TEST_CASE("the tiles of every ISA fit the layouts that all of them share") {
  on_every_kernel_set([](const KernelSet& kernels) {
    CHECK(kLanes % kernels.lanes == 0);
    CHECK(kPanel % kernels.tiles.columns == 0);
    CHECK(kernels.tiles.columns % kernels.lanes == 0);
    CHECK(kernels.tiles.query_rows % kernels.tiles.rows == 0);
  });
}

}  // namespace rapt::test
