// Packing for long-term storage, on every ISA, against plain loops over its layout, and no
// access beyond its operands.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/kernel_sets.hpp"
#include "support/guarded_operand.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace rapt::test {
namespace {

using kernels::KernelSet;
using kernels::kPanel;

int seeds() { return quick() ? 20 : 100; }

std::int64_t panels_of(std::int64_t columns) { return (columns + kPanel - 1) / kPanel; }

/// Sizes around the lanes of a vector and around a panel.
std::vector<std::int64_t> sizes_of(const KernelSet& kernels) {
  std::vector<std::int64_t> sizes{1, kPanel - 1, kPanel, kPanel + 1, 2 * kPanel + 3};
  const std::int64_t lanes = kernels.lanes;
  for (const std::int64_t size : {lanes - 1, lanes + 1, 2 * lanes}) {
    if (size > 1) sizes.push_back(size);
  }
  return sizes;
}

void check_keys(const KernelSet& kernels, OperandDraws& draws, std::int64_t first,
                std::int64_t keys, std::int64_t head_dim) {
  const auto in_panels = [head_dim](std::int64_t j, std::int64_t d) {
    return (j / kPanel * head_dim + d) * kPanel + j % kPanel;
  };
  const std::int64_t stride = head_dim + draws.gap();
  const GuardedOperand k = draws.rows(keys, head_dim, stride);
  const GuardedOperand got = draws.result(in_panels(first + keys - 1, head_dim - 1) + 1);
  std::vector<float> want = got.copy();
  for (std::int64_t i = 0; i < keys; ++i) {
    for (std::int64_t d = 0; d < head_dim; ++d) {
      want[index(in_panels(first + i, d))] = k[i * stride + d];
    }
  }
  kernels.pack_keys({.k = k.data(),
                     .k_stride = stride,
                     .first = first,
                     .keys = keys,
                     .head_dim = head_dim,
                     .panels = got.data()});
  CHECK_MESSAGE(first_wrong(got, want) == -1, "first ", first, " keys ", keys, " head_dim ",
                head_dim);
}

void check_values(const KernelSet& kernels, OperandDraws& draws, std::int64_t values,
                  std::int64_t value_dim) {
  // Pages of more rows than are written.
  const std::int64_t stride = value_dim + draws.gap(), page = values + draws.gap();
  const std::int64_t panels = panels_of(value_dim);
  const GuardedOperand v = draws.rows(values, value_dim, stride);
  const GuardedOperand got = draws.result(((panels - 1) * page + values) * kPanel);
  std::vector<float> want = got.copy();
  for (std::int64_t j = 0; j < values; ++j) {
    for (std::int64_t c = 0; c < panels * kPanel; ++c) {
      want[index((c / kPanel * page + j) * kPanel + c % kPanel)] =
          c < value_dim ? v[j * stride + c] : 0.0f;
    }
  }
  kernels.pack_values({.v = v.data(),
                       .v_stride = stride,
                       .values = values,
                       .value_dim = value_dim,
                       .panels = got.data(),
                       .panel_stride = page * kPanel});
  CHECK_MESSAGE(first_wrong(got, want) == -1, "values ", values, " value_dim ", value_dim);
}

/// The layout of a matrix of weights: its innermost dimension, and the gaps in the others.
enum class Neighbours { depth, columns, none };

/// A weight matrix of heads, as PackWeightArgs has it, without the panels that are wanted of it.
kernels::PackWeightArgs weight_matrix(std::int64_t head_columns, std::int64_t columns,
                                      std::int64_t depth, Neighbours neighbours) {
  kernels::PackWeightArgs args{};
  args.head_columns = head_columns, args.columns = columns, args.depth = depth;
  args.column_stride = 2 * depth + 1, args.depth_stride = 2;
  if (neighbours == Neighbours::depth) args.column_stride = depth + 3, args.depth_stride = 1;
  if (neighbours == Neighbours::columns)
    args.column_stride = 1, args.depth_stride = head_columns + 2;
  args.head_stride = head_columns * args.column_stride + depth * args.depth_stride;
  return args;
}

std::int64_t in_weight(const kernels::PackWeightArgs& args, std::int64_t c, std::int64_t k) {
  return c / args.head_columns * args.head_stride + c % args.head_columns * args.column_stride +
         k * args.depth_stride;
}

void check_weight(const KernelSet& kernels, OperandDraws& draws, kernels::PackWeightArgs args) {
  std::int64_t length = 0;
  for (std::int64_t c = 0; c < args.columns; ++c) {
    length = std::max(length, in_weight(args, c, args.depth - 1) + 1);
  }
  const GuardedOperand w = draws.operand(length);
  const Numbers kind = draws.numbers();
  for (std::int64_t c = 0; c < args.columns; ++c) {
    for (std::int64_t k = 0; k < args.depth; ++k) w[in_weight(args, c, k)] = draws.number(kind);
  }
  const std::int64_t panels = panels_of(args.columns);
  args.panel_begin = draws.below(2) == 0 ? 0 : draws.between(0, panels - 1);
  args.panel_end = draws.below(2) == 0 ? panels : draws.between(args.panel_begin + 1, panels);
  const GuardedOperand got = draws.result(args.panel_end * args.depth * kPanel);
  std::vector<float> want = got.copy();
  for (std::int64_t c = args.panel_begin * kPanel; c < args.panel_end * kPanel; ++c) {
    for (std::int64_t k = 0; k < args.depth; ++k) {
      want[index((c / kPanel * args.depth + k) * kPanel + c % kPanel)] =
          c < args.columns ? w[in_weight(args, c, k)] : 0.0f;
    }
  }
  args.weight = w.data(), args.packed = got.data();
  kernels.pack_weight(args);
  CHECK_MESSAGE(first_wrong(got, want) == -1, "head_columns ", args.head_columns, " columns ",
                args.columns, " depth ", args.depth, " column_stride ", args.column_stride,
                " panels ", args.panel_begin, " to ", args.panel_end);
}

/// The same for 16 bits of any pattern, which must all be kept.
void check_weight_of_16_bits(const KernelSet& kernels, OperandDraws& draws,
                             kernels::PackWeightArgs args) {
  using Bits = GuardedBuffer<std::uint16_t>;
  std::int64_t length = 0;
  for (std::int64_t c = 0; c < args.columns; ++c) {
    length = std::max(length, in_weight(args, c, args.depth - 1) + 1);
  }
  const Bits w(index(length), Bits::At::end);
  for (std::uint16_t& bits : w) bits = static_cast<std::uint16_t>(draws.below(65536));
  args.panel_begin = 0, args.panel_end = panels_of(args.columns);
  const Bits got(index(args.panel_end * args.depth * kPanel), Bits::At::end);
  args.weight = w.data(), args.packed = got.data();
  args.type = draws.below(2) == 0 ? kernels::ElementType::bf16 : kernels::ElementType::f16;
  kernels.pack_weight(args);
  std::int64_t wrong = 0;
  for (std::int64_t c = 0; c < args.panel_end * kPanel; ++c) {
    for (std::int64_t k = 0; k < args.depth; ++k) {
      const int want = c < args.columns ? w.data()[in_weight(args, c, k)] : 0;
      wrong += got.data()[(c / kPanel * args.depth + k) * kPanel + c % kPanel] == want ? 0 : 1;
    }
  }
  CHECK_MESSAGE(wrong == 0, "head_columns ", args.head_columns, " columns ", args.columns,
                " depth ", args.depth, " column_stride ", args.column_stride);
}

}  // namespace

TEST_CASE("keys are written into their columns of the panels, and nothing beside them is") {
  on_guarded_operands(seeds(), [](const KernelSet& kernels, OperandDraws& draws) {
    const std::int64_t first = draws.between(0, 64), keys = draws.between(1, 96);
    check_keys(kernels, draws, first, keys, draws.between(1, 256));
  });
  on_guarded_operands(1, [](const KernelSet& kernels, OperandDraws& draws) {
    for (const std::int64_t keys : sizes_of(kernels)) {
      for (const std::int64_t first : {0, 1, kernels.lanes, kPanel - 1, kPanel}) {
        for (const std::int64_t head_dim : sizes_of(kernels)) {
          check_keys(kernels, draws, first, keys, head_dim);
        }
      }
    }
  });
}

TEST_CASE("values are written into their rows of the panels, filled up with zeros") {
  on_guarded_operands(seeds(), [](const KernelSet& kernels, OperandDraws& draws) {
    const std::int64_t values = draws.between(1, 80);
    check_values(kernels, draws, values, draws.between(1, 256));
  });
  on_guarded_operands(1, [](const KernelSet& kernels, OperandDraws& draws) {
    for (const std::int64_t values : {1, 2, 33}) {
      for (const std::int64_t value_dim : sizes_of(kernels)) {
        check_values(kernels, draws, values, value_dim);
      }
    }
  });
}

TEST_CASE("weights are packed into panels from any layout, and columns that do not exist are 0") {
  on_guarded_operands(seeds(), [](const KernelSet& kernels, OperandDraws& draws) {
    const std::int64_t columns = draws.between(1, 150), head_columns = draws.between(1, columns);
    const auto neighbours = static_cast<Neighbours>(draws.below(3));
    const std::int64_t depth = draws.between(1, 200);
    check_weight(kernels, draws, weight_matrix(head_columns, columns, depth, neighbours));
  });
  on_guarded_operands(1, [](const KernelSet& kernels, OperandDraws& draws) {
    for (const auto neighbours : {Neighbours::depth, Neighbours::columns, Neighbours::none}) {
      for (const std::int64_t columns : sizes_of(kernels)) {
        for (const std::int64_t head_columns : {std::int64_t{3}, std::int64_t{kPanel}, columns}) {
          for (const std::int64_t depth : {1, 15, 16, 17, 127, 128, 129, 300}) {
            check_weight(kernels, draws, weight_matrix(head_columns, columns, depth, neighbours));
          }
        }
      }
    }
  });
}

TEST_CASE("weights of 16 bits are packed with all their bits") {
  on_guarded_operands(seeds(), [](const KernelSet& kernels, OperandDraws& draws) {
    const std::int64_t columns = draws.between(1, 150), head_columns = draws.between(1, columns);
    const auto neighbours = static_cast<Neighbours>(draws.below(3));
    const std::int64_t depth = draws.between(1, 200);
    check_weight_of_16_bits(kernels, draws,
                            weight_matrix(head_columns, columns, depth, neighbours));
  });
}

}  // namespace rapt::test
