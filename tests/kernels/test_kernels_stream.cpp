// The two kernels that stream rows of K and V, each alone, on every ISA: the bits of the plain loop
// that it implements, and no access beyond its operands.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/kernel_sets.hpp"
#include "support/guarded_operand.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace rapt::test {
namespace {

using kernels::KernelSet;
using kernels::KeyStorage;
using kernels::kKeyBlock;

int seeds() { return quick() ? 40 : 200; }

struct KeyShape {
  std::int64_t rows, head_dim, stride, first, keys;
};

void check_key_rows(const KernelSet& kernels, OperandDraws& draws, const KeyShape& at) {
  CAPTURE(at.rows);
  CAPTURE(at.head_dim);
  CAPTURE(at.stride);
  CAPTURE(at.first);
  CAPTURE(at.keys);
  const GuardedOperand q = drawn_tile(kernels, draws, at.rows, 0, at.head_dim);
  const GuardedOperand k = draws.rows(at.keys, at.head_dim, at.stride);
  const GuardedOperand s = draws.result(tile_end(kernels, at.rows, at.first + at.keys));
  std::vector<float> want = s.copy();
  for (std::int64_t r = 0; r < at.rows; ++r) {
    for (std::int64_t j = 0; j < at.keys; ++j) {
      float sum = 0.0f;
      for (std::int64_t d = 0; d < at.head_dim; ++d) {
        sum = std::fma(q[in_tile(kernels, r, d)], k[j * at.stride + d], sum);
      }
      want[index(in_tile(kernels, r, at.first + j))] = sum;
    }
  }
  kernels.key_rows({.q = q.data(),
                    .k = k.data(),
                    .k_stride = at.stride,
                    .head_dim = at.head_dim,
                    .rows = at.rows,
                    .first = at.first,
                    .keys = at.keys,
                    .s = s.data()});
  CHECK(first_wrong(s, want) == -1);
}

KeyShape drawn_keys(const KernelSet& kernels, OperandDraws& draws) {
  const std::int64_t lanes = kernels.lanes, block = kKeyBlock / lanes;
  KeyShape at{};
  at.head_dim = lanes * draws.between(1, 256 / lanes);
  at.rows = draws.between(1, kernels.stream_rows({KeyStorage::rows, 0, at.head_dim, lanes}));
  at.stride = at.head_dim + draws.gap();
  at.first = lanes * draws.between(0, block - 1);
  at.keys = lanes * draws.between(1, block - at.first / lanes);
  return at;
}

struct ValueShape {
  std::int64_t rows, value_dim, stride, o_stride;
  std::vector<std::int64_t> steps;  ///< the key at which each begins, and the last one's end
};

/// What the kernel is given of a block, and what comes of it.
struct ValueOperands {
  GuardedOperand p, v, a, b, sums, o;

  ValueOperands(const KernelSet& kernels, OperandDraws& draws, const ValueShape& at)
      : p(drawn_tile(kernels, draws, at.rows, at.steps.front(), at.steps.back())),
        v(draws.rows(at.steps.back() - at.steps.front(), at.value_dim, at.stride)),
        a(draws.rows(1, at.rows, at.rows)),
        b(draws.rows(1, at.rows, at.rows)),
        sums(draws.operand(at.rows * at.value_dim)),
        o(draws.result((at.rows - 1) * at.o_stride + at.value_dim)) {
    const Numbers kind = draws.numbers();
    for (std::int64_t r = 0; r < at.rows; ++r) {
      for (std::int64_t c = 0; c < at.value_dim; ++c) o[r * at.o_stride + c] = draws.number(kind);
    }
  }
};

std::vector<float> plain_fold(const KernelSet& kernels, const ValueOperands& given,
                              const ValueShape& at) {
  std::vector<float> o = given.o.copy();
  for (std::int64_t r = 0; r < at.rows; ++r) {
    for (std::int64_t c = 0; c < at.value_dim; ++c) {
      float sum = 0.0f;
      for (std::int64_t j = at.steps.front(); j < at.steps.back(); ++j) {
        const float value = given.v[(j - at.steps.front()) * at.stride + c];
        sum = std::fma(given.p[in_tile(kernels, r, j)], value, sum);
      }
      float& to = o[index(r * at.o_stride + c)];
      const float block = sum * given.b[r];
      to = std::fma(to, given.a[r], block);
    }
  }
  return o;
}

void check_value_rows(const KernelSet& kernels, OperandDraws& draws, const ValueShape& at) {
  CAPTURE(at.rows);
  CAPTURE(at.value_dim);
  CAPTURE(at.stride);
  CAPTURE(at.o_stride);
  CAPTURE(at.steps.front());
  CAPTURE(at.steps.back());
  CAPTURE(at.steps.size());
  const ValueOperands given(kernels, draws, at);
  const std::vector<float> before = given.o.copy(), want = plain_fold(kernels, given, at);
  const std::size_t steps = at.steps.size() - 1;
  for (std::size_t i = 0; i < steps; ++i) {
    const bool ends = i + 1 == steps;
    kernels.value_rows({.p = given.p.data(),
                        .v = given.v.data() + (at.steps[i] - at.steps.front()) * at.stride,
                        .v_stride = at.stride,
                        .value_dim = at.value_dim,
                        .rows = at.rows,
                        .begin = at.steps[i],
                        .end = at.steps[i + 1],
                        .starts = i == 0,
                        .ends = ends,
                        .sums = given.sums.data(),
                        .a = given.a.data(),
                        .b = given.b.data(),
                        .o = given.o.data(),
                        .o_stride = at.o_stride});
    CHECK(first_wrong(given.o, ends ? want : before) == -1);
  }
}

/// Up to four steps with any ends, within any part of the block.
ValueShape drawn_values(const KernelSet& kernels, OperandDraws& draws) {
  const std::int64_t lanes = kernels.lanes;
  ValueShape at{};
  at.value_dim = lanes * draws.between(1, 288 / lanes);
  at.rows = draws.between(1, kernels.stream_rows({KeyStorage::rows, 0, lanes, at.value_dim}));
  at.stride = at.value_dim + draws.gap();
  at.o_stride = at.value_dim + draws.gap();
  const std::int64_t begin = draws.between(0, kKeyBlock - 1);
  const std::int64_t end = draws.between(begin + 1, kKeyBlock);
  at.steps = {begin, end};
  for (std::int64_t cuts = draws.between(0, 3); cuts > 0; --cuts) {
    at.steps.push_back(draws.between(begin, end));
  }
  std::sort(at.steps.begin(), at.steps.end());
  at.steps.erase(std::unique(at.steps.begin(), at.steps.end()), at.steps.end());
  return at;
}

}  // namespace

TEST_CASE("scores of rows of K are chains over ascending dimensions, whatever the operands") {
  on_guarded_operands(seeds(), [](const KernelSet& kernels, OperandDraws& draws) {
    check_key_rows(kernels, draws, drawn_keys(kernels, draws));
  });
}

TEST_CASE("scores of rows of K for every number of rows and of vectors of keys") {
  on_guarded_operands(1, [](const KernelSet& kernels, OperandDraws& draws) {
    const std::int64_t lanes = kernels.lanes, dim = 3 * lanes;
    const std::int64_t most = kernels.stream_rows({KeyStorage::rows, 0, dim, lanes});
    for (std::int64_t rows = 1; rows <= most; ++rows) {
      for (std::int64_t vectors = 1; vectors <= 9; ++vectors) {
        check_key_rows(kernels, draws, {rows, dim, dim, 5 * lanes, vectors * lanes});
      }
      check_key_rows(kernels, draws, {rows, 512, 512, 0, 9 * lanes});
    }
    check_key_rows(kernels, draws, {most, lanes, 4096, 0, kKeyBlock});
  });
}

TEST_CASE("weighted rows of V are chains over ascending keys in any steps, whatever the operands") {
  on_guarded_operands(seeds(), [](const KernelSet& kernels, OperandDraws& draws) {
    check_value_rows(kernels, draws, drawn_values(kernels, draws));
  });
}

TEST_CASE("weighted rows of V for every number of rows and of vectors of columns") {
  on_guarded_operands(1, [](const KernelSet& kernels, OperandDraws& draws) {
    const std::int64_t lanes = kernels.lanes;
    const std::int64_t most = kernels.stream_rows({KeyStorage::rows, 0, lanes, lanes});
    for (std::int64_t rows = 1; rows <= most; ++rows) {
      for (std::int64_t vectors = 1; vectors <= 33; ++vectors) {
        const std::int64_t dim = vectors * lanes;
        check_value_rows(kernels, draws, {rows, dim, dim, dim, {7, 16, 33}});
      }
      check_value_rows(kernels, draws, {rows, 512, 512, 512, {0, kKeyBlock}});
    }
  });
}

}  // namespace rapt::test
