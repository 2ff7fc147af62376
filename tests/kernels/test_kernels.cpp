// Each part of the attention kernels alone, on every ISA, against the plain loop that it
// implements.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/kernel_sets.hpp"
#include "reference/scalar.hpp"
#include "support/guarded_operand.hpp"
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

int seeds() { return quick() ? 20 : 100; }

std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// {1, L - 1, L, L + 1, 2 L + 3} of the kernel's own tile, without values below 1.
std::vector<std::int64_t> around(std::int64_t tile) {
  std::vector<std::int64_t> sizes{1, tile - 1, tile, tile + 1, 2 * tile + 3};
  std::erase_if(sizes, [](std::int64_t size) { return size < 1; });
  return sizes;
}

void check_scores(const KernelSet& kernels, OperandDraws& draws, std::int64_t rows,
                  std::int64_t keys, std::int64_t head_dim) {
  // Whole panels: their keys past the last one must not reach a score that is wanted.
  const std::int64_t panel_keys = round_up(keys, kPanel);
  const GuardedOperand q = drawn_tile(kernels, draws, rows, 0, head_dim);
  const GuardedOperand k = draws.operand(panel_keys * head_dim);
  const GuardedOperand s = draws.result(tile_end(kernels, rows, panel_keys));
  std::vector<float> want = s.copy();
  const Numbers kind = draws.numbers();
  for (std::int64_t j = 0; j < keys; ++j) {
    float* const key = k.data() + j / kPanel * kPanel * head_dim + j % kPanel;
    for (std::int64_t d = 0; d < head_dim; ++d) key[d * kPanel] = draws.number(kind);
    for (std::int64_t r = 0; r < rows; ++r) {
      float& sum = want[index(in_tile(kernels, r, j))] = 0.0f;
      for (std::int64_t d = 0; d < head_dim; ++d) {
        sum = std::fma(q[in_tile(kernels, r, d)], key[d * kPanel], sum);
      }
    }
  }
  kernels.scores({.q = q.data(),
                  .k = k.data(),
                  .head_dim = head_dim,
                  .rows = rows,
                  .keys = keys,
                  .s = s.data()});
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t j = keys; j < panel_keys; ++j) {
      s[in_tile(kernels, r, j)] = kUnwritten;  // may be anything
    }
  }
  CHECK_MESSAGE(first_wrong(s, want) == -1, "rows ", rows, " keys ", keys, " head_dim ", head_dim);
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

/// For the last row of a tile: nothing before its first score is the kernel's.
void check_softmax(const KernelSet& kernels, OperandDraws& draws, const std::vector<float>& scores,
                   std::int64_t begin, std::int64_t end, std::int64_t keys) {
  // Outside [begin, end) memory may hold anything.
  const std::int64_t line_keys = round_up(keys, kLanes);
  const GuardedOperand s = draws.result(tile_end(kernels, 1, line_keys));
  std::vector<float> want = s.copy();
  for (std::int64_t j = 0; j < line_keys; ++j) {
    s[in_tile(kernels, 0, j)] = begin <= j && j < end ? scores[index(j)] : kUnread;
  }
  float m = 0.0f;
  float l = 0.0f;
  const std::vector<float> weights = plain_softmax(scores, begin, end, keys, m, l);
  for (std::int64_t j = 0; j < keys; ++j) want[index(in_tile(kernels, 0, j))] = weights[index(j)];
  kernels::SoftmaxArgs args{
      .s = s.data(), .begin = begin, .end = end, .keys = keys, .m = 0.0f, .l = 0.0f};
  kernels.softmax(args);
  for (std::int64_t j = keys; j < line_keys; ++j) {
    s[in_tile(kernels, 0, j)] = kUnwritten;  // may be anything
  }
  CHECK_MESSAGE(first_wrong(s, want) == -1, "begin ", begin, " end ", end, " keys ", keys);
  CHECK(args.m == m);
  CHECK(args.l == l);
}

/// Where the values of a block lie: in panels, or as rows in place.
struct ValueLayout {
  std::int64_t v_stride, panel_stride;
};

void check_values(const KernelSet& kernels, OperandDraws& draws, std::int64_t rows,
                  std::int64_t keys, std::int64_t columns, const ValueLayout& layout) {
  const auto at = [&](std::int64_t j, std::int64_t c) {
    return c / kPanel * layout.panel_stride + j * layout.v_stride + c % kPanel;
  };
  const std::int64_t o_stride = columns + draws.gap();
  const GuardedOperand p = drawn_tile(kernels, draws, rows, 0, keys);
  const GuardedOperand v = draws.operand(at(keys - 1, columns - 1) + 1);
  const GuardedOperand a = draws.rows(1, rows, rows), b = draws.rows(1, rows, rows);
  const GuardedOperand o = draws.result((rows - 1) * o_stride + columns);
  const Numbers kind = draws.numbers();
  for (std::int64_t c = 0; c < columns; ++c) {
    for (std::int64_t j = 0; j < keys; ++j) v[at(j, c)] = draws.number(kind);
    for (std::int64_t r = 0; r < rows; ++r) o[r * o_stride + c] = draws.number(kind);
  }
  std::vector<float> want = o.copy();
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      float sum = 0.0f;
      for (std::int64_t j = 0; j < keys; ++j) {
        sum = std::fma(p[in_tile(kernels, r, j)], v[at(j, c)], sum);
      }
      float& to = want[index(r * o_stride + c)];
      const float block = sum * b[r];
      to = std::fma(to, a[r], block);
    }
  }
  kernels.values({.p = p.data(),
                  .v = v.data(),
                  .v_stride = layout.v_stride,
                  .panel_stride = layout.panel_stride,
                  .keys = keys,
                  .rows = rows,
                  .columns = columns,
                  .a = a.data(),
                  .b = b.data(),
                  .o = o.data(),
                  .o_stride = o_stride});
  CHECK_MESSAGE(first_wrong(o, want) == -1, "rows ", rows, " keys ", keys, " columns ", columns,
                " v_stride ", layout.v_stride);
}

void check_pack_rows(const KernelSet& kernels, OperandDraws& draws, std::int64_t rows,
                     std::int64_t depth) {
  const std::int64_t stride = depth + draws.gap();
  const float scale = draws.normal();
  const GuardedOperand x = draws.rows(rows, depth, stride);
  const GuardedOperand tile = draws.result(tile_end(kernels, rows, depth));
  std::vector<float> want = tile.copy();
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t k = 0; k < depth; ++k) {
      want[index(in_tile(kernels, r, k))] = x[r * stride + k] * scale;
    }
  }
  kernels.pack_rows({x.data(), stride, rows, depth, scale, tile.data()});
  CHECK_MESSAGE(first_wrong(tile, want) == -1, "rows ", rows, " depth ", depth);
}

}  // namespace

TEST_CASE("rows packed into a row tile are scaled once") {
  on_guarded_operands(seeds(), [](const KernelSet& kernels, OperandDraws& draws) {
    const std::int64_t rows = draws.between(1, kernels.tiles.rows);
    check_pack_rows(kernels, draws, rows, draws.between(1, 300));
  });
  on_guarded_operands(1, [](const KernelSet& kernels, OperandDraws& draws) {
    for (const std::int64_t depth : around(kLanes)) {
      for (std::int64_t rows = 1; rows <= kernels.tiles.rows; ++rows) {
        check_pack_rows(kernels, draws, rows, depth);
      }
    }
  });
}

TEST_CASE("scores are chains of fused multiply-adds over ascending dimensions on every ISA") {
  on_guarded_operands(seeds(), [](const KernelSet& kernels, OperandDraws& draws) {
    const std::int64_t rows = draws.between(1, kernels.tiles.rows);
    check_scores(kernels, draws, rows, draws.between(1, kKeyBlock), draws.between(1, 300));
  });
  on_guarded_operands(1, [](const KernelSet& kernels, OperandDraws& draws) {
    for (std::int64_t rows = 1; rows <= kernels.tiles.rows; ++rows) {
      for (const std::int64_t keys : around(kPanel)) check_scores(kernels, draws, rows, keys, 19);
      check_scores(kernels, draws, rows, kKeyBlock, 1);
    }
    for (const std::int64_t head_dim : {2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 300}) {
      check_scores(kernels, draws, kernels.tiles.rows, 40, head_dim);
    }
  });
}

TEST_CASE("the block softmax sums its weights in sixteen lanes on every ISA") {
  on_guarded_operands(seeds(), [](const KernelSet& kernels, OperandDraws& draws) {
    std::vector<float> scores(index(kKeyBlock));
    const bool holes = draws.below(4) == 0;
    for (float& score : scores) {
      score = holes && draws.below(3) == 0 ? -kInfinity : 20.0f * draws.normal();
    }
    const std::int64_t keys = draws.between(1, kKeyBlock), end = draws.between(0, keys);
    check_softmax(kernels, draws, scores, draws.between(0, end), end, keys);
  });
  on_guarded_operands(1, [](const KernelSet& kernels, OperandDraws& draws) {
    std::vector<float> scores(index(kKeyBlock));
    for (float& score : scores) score = 20.0f * draws.normal();
    const std::vector<std::int64_t> ends{1, 2, 15, 16, 17, 31, 33, 100, 255, kKeyBlock};
    for (const std::int64_t end : ends) {
      for (const std::int64_t begin : {std::int64_t{0}, std::int64_t{1}, end / 2, end - 1, end}) {
        check_softmax(kernels, draws, scores, begin, end, end);
        check_softmax(kernels, draws, scores, begin, end, round_up(end, kLanes));
        check_softmax(kernels, draws, scores, begin, end, kKeyBlock);
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
  on_guarded_operands(1, [&](const KernelSet& kernels, OperandDraws& draws) {
    check_softmax(kernels, draws, scores, 0, kKeyBlock, kKeyBlock);
    check_softmax(kernels, draws, scores, 5, 47, 100);
    check_softmax(kernels, draws, nothing, 0, kKeyBlock, kKeyBlock);
    check_softmax(kernels, draws, nothing, 3, 18, 20);
  });
}

TEST_CASE("a NaN score reaches the sum of its block, and the maximum ignores it, on every ISA") {
  on_every_kernel_set([](const KernelSet& kernels) {
    for (const std::int64_t at : {0, 1, 7, 15, 16, 30}) {
      CAPTURE(at);
      for (const float others : {-kInfinity, 2.0f}) {
        std::vector<float> s(index(tile_end(kernels, 1, kPanel)), others);
        s[index(in_tile(kernels, 0, at))] = kNaN;
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
  on_guarded_operands(seeds(), [](const KernelSet& kernels, OperandDraws& draws) {
    const std::int64_t rows = draws.between(1, kernels.tiles.rows);
    const std::int64_t keys = draws.between(1, kKeyBlock), tile = kernels.tiles.columns;
    const std::int64_t columns = tile * draws.between(1, 200 / tile);
    const ValueLayout panels{kPanel, (keys + draws.gap()) * kPanel};
    const ValueLayout in_place{columns + draws.gap(), kPanel};
    check_values(kernels, draws, rows, keys, columns, draws.below(2) == 0 ? panels : in_place);
  });
  on_guarded_operands(1, [](const KernelSet& kernels, OperandDraws& draws) {
    const std::int64_t tile = kernels.tiles.columns;
    for (std::int64_t rows = 1; rows <= kernels.tiles.rows; ++rows) {
      for (const std::int64_t columns : {tile, 2 * tile, 3 * tile}) {
        check_values(kernels, draws, rows, 21, columns, {kPanel, std::int64_t{21} * kPanel});
      }
      for (const std::int64_t keys : {1, 15, 16, 17, 31, 32, 255, kKeyBlock}) {
        check_values(kernels, draws, rows, keys, tile, {kPanel, keys * kPanel});
      }
    }
  });
}

TEST_CASE("the tiles of every ISA fit the layouts that all of them share") {
  on_every_kernel_set([](const KernelSet& kernels) {
    CHECK(kLanes % kernels.lanes == 0);
    CHECK(kPanel % kernels.tiles.columns == 0);
    CHECK(kernels.tiles.columns % kernels.lanes == 0);
    CHECK(kernels.tuning.query_rows % kernels.tiles.rows == 0);
  });
}

}  // namespace rapt::test
