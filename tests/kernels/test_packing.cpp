// Packing for long-term storage, on every ISA, against plain loops over its layout.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/kernel_sets.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace rapt::test {
namespace {

using kernels::KernelSet;
using kernels::kPanel;

/// The initial value of floats that must not be written.
constexpr float kUntouched = 77.0f;

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

void check_keys(const KernelSet& kernels, std::int64_t first, std::int64_t keys,
                std::int64_t head_dim) {
  const std::int64_t stride = head_dim + 3, panels = panels_of(first + keys);
  const std::vector<float> k = normal_floats(index(keys * stride), 1);
  std::vector<float> got(index(panels * kPanel * head_dim), kUntouched), want = got;
  for (std::int64_t i = 0; i < keys; ++i) {
    const std::int64_t j = first + i;
    for (std::int64_t d = 0; d < head_dim; ++d) {
      want[index((j / kPanel * head_dim + d) * kPanel + j % kPanel)] = k[index(i * stride + d)];
    }
  }
  kernels.pack_keys({.k = k.data(),
                     .k_stride = stride,
                     .first = first,
                     .keys = keys,
                     .head_dim = head_dim,
                     .panels = got.data()});
  CHECK_MESSAGE(same_bits(got, want), "first ", first, " keys ", keys, " head_dim ", head_dim);
}

void check_values(const KernelSet& kernels, std::int64_t values, std::int64_t value_dim) {
  // A page with more rows than are written, two of them before these.
  const std::int64_t stride = value_dim + 3, page = values + 5, first = 2;
  const std::vector<float> v = normal_floats(index(values * stride), 2);
  std::vector<float> got(index(panels_of(value_dim) * page * kPanel), kUntouched), want = got;
  for (std::int64_t j = 0; j < values; ++j) {
    for (std::int64_t c = 0; c < panels_of(value_dim) * kPanel; ++c) {
      want[index((c / kPanel * page + first + j) * kPanel + c % kPanel)] =
          c < value_dim ? v[index(j * stride + c)] : 0.0f;
    }
  }
  kernels.pack_values({.v = v.data(),
                       .v_stride = stride,
                       .values = values,
                       .value_dim = value_dim,
                       .panels = got.data() + first * kPanel,
                       .panel_stride = page * kPanel});
  CHECK_MESSAGE(same_bits(got, want), "values ", values, " value_dim ", value_dim);
}

/// The layout of a matrix of weights: its innermost dimension, and the gaps in the others.
enum class Neighbours { depth, columns, none };

void check_weight(const KernelSet& kernels, std::int64_t head_columns, std::int64_t columns,
                  std::int64_t depth, Neighbours neighbours) {
  const std::int64_t heads = (columns + head_columns - 1) / head_columns;
  std::int64_t column_stride = 2 * depth + 1, depth_stride = 2;
  if (neighbours == Neighbours::depth) column_stride = depth + 3, depth_stride = 1;
  if (neighbours == Neighbours::columns) column_stride = 1, depth_stride = head_columns + 2;
  const std::int64_t head_stride = head_columns * column_stride + depth * depth_stride;
  const std::vector<float> w = normal_floats(index(heads * head_stride), 3);
  const std::int64_t panels = panels_of(columns);
  std::vector<float> got(index(panels * depth * kPanel), kUntouched), want = got;
  for (std::int64_t c = 0; c < panels * kPanel; ++c) {
    for (std::int64_t k = 0; k < depth; ++k) {
      want[index((c / kPanel * depth + k) * kPanel + c % kPanel)] =
          c < columns ? w[index(c / head_columns * head_stride + c % head_columns * column_stride +
                                k * depth_stride)]
                      : 0.0f;
    }
  }
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    kernels.pack_weight({.weight = w.data(),
                         .head_columns = head_columns,
                         .head_stride = head_stride,
                         .column_stride = column_stride,
                         .depth_stride = depth_stride,
                         .depth = depth,
                         .columns = columns,
                         .panel_begin = panel,
                         .panel_end = panel + 1,
                         .packed = got.data()});
  }
  CHECK_MESSAGE(same_bits(got, want), "head_columns ", head_columns, " columns ", columns,
                " depth ", depth, " neighbours ", static_cast<int>(neighbours));
}

}  // namespace

TEST_CASE("keys are written into their columns of the panels, and nothing else is written") {
  on_every_kernel_set([](const KernelSet& kernels) {
    for (const std::int64_t keys : sizes_of(kernels)) {
      for (const std::int64_t first : {0, 1, kernels.lanes, kPanel - 1, kPanel}) {
        for (const std::int64_t head_dim : sizes_of(kernels)) {
          check_keys(kernels, first, keys, head_dim);
        }
      }
    }
  });
}

TEST_CASE("values are written into their rows of the panels, padded with zeros") {
  on_every_kernel_set([](const KernelSet& kernels) {
    for (const std::int64_t values : {1, 2, 33}) {
      for (const std::int64_t value_dim : sizes_of(kernels)) {
        check_values(kernels, values, value_dim);
      }
    }
  });
}

TEST_CASE("weights are packed into panels from any layout, and missing columns are 0") {
  on_every_kernel_set([](const KernelSet& kernels) {
    for (const auto neighbours : {Neighbours::depth, Neighbours::columns, Neighbours::none}) {
      for (const std::int64_t columns : sizes_of(kernels)) {
        for (const std::int64_t head_columns : {std::int64_t{3}, std::int64_t{kPanel}, columns}) {
          for (const std::int64_t depth : {1, 15, 16, 17, 127, 128, 129, 300}) {
            check_weight(kernels, head_columns, columns, depth, neighbours);
          }
        }
      }
    }
  });
}

}  // namespace rapt::test
