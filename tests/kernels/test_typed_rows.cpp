// Functions of rows over every mix of f32, bf16 and f16: the widened row, computed as in f32 and
// rounded once, on every ISA.
#include "kernels/row_layout.hpp"
#include "rapt/rapt.hpp"
#include "reference/row_functions.hpp"
#include "reference/rows.hpp"
#include "support/on_every_isa.hpp"
#include "support/sentence_of.hpp"
#include "support/typed.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16};

/// The memory of rows of one type, gaps included.
struct TypedRows {
  TypedRows(const SpacedRows& rows, const std::vector<float>& values, DType type_)
      : shape{rows.rows, rows.width}, strides{rows.width + SpacedRows::kGap, 1}, type(type_) {
    if (type == DType::f32) floats = values;
    if (type != DType::f32) {
      for (const float x : values) halves.push_back(narrow_bits(x, type));
    }
  }

  TensorView<void, 2> view() {
    void* const data = type == DType::f32 ? static_cast<void*>(floats.data()) : halves.data();
    return {data, type, shape, strides};
  }
  TensorView<void, 4> heads() {
    const TensorView<void, 2> rows = view();
    return {rows.data, type, {1, 1, shape[0], shape[1]}, {0, 0, strides[0], 1}};
  }

  TensorView<void, 2>::Index shape, strides;
  DType type;
  std::vector<float> floats;
  std::vector<std::uint16_t> halves;
};

bool same(const TypedRows& a, const TypedRows& b) {
  return same_bits(a.floats, b.floats) && a.halves == b.halves;
}

/// A function of rows and its statement for one widened row.
struct RowFunction {
  const char* name;
  std::function<void(TypedRows& x, TypedRows& y)> call;
  std::function<std::vector<float>(const std::vector<float>&)> of_row;
};

void check_function(const SpacedRows& rows, const RowFunction& function) {
  for (const DType from : kTypes) {
    for (const DType to : kTypes) {
      TypedRows x(rows, rows.x, from), want(rows, rows.unwritten(), to);
      reference::each_row(x.view(), want.view(), function.of_row);
      TypedRows in_place(x), want_in_place(x);
      reference::each_row(x.view(), want_in_place.view(), function.of_row);
      for (const Isa isa : available_isas()) {
        const ForcedIsa forced(isa);
        TypedRows y(rows, rows.unwritten(), to), again(x);
        function.call(x, y);
        CHECK_MESSAGE(same(y, want), function.name, " of ", dtype_name(from), " to ",
                      dtype_name(to), " on ", isa_name(isa), ", width ", rows.width);
        if (from != to) continue;
        function.call(again, again);
        CHECK_MESSAGE(same(again, want_in_place), function.name, " of ", dtype_name(from),
                      " in place on ", isa_name(isa), ", width ", rows.width);
      }
    }
  }
}

/// Rows of ordinary numbers, with a NaN, an infinity, and numbers that no f16 holds.
SpacedRows special_rows(std::int64_t count, std::int64_t width) {
  SpacedRows rows(count, width, 7);
  rows.x[rows.at(0, width / 2)] = std::numeric_limits<float>::quiet_NaN();
  rows.x[rows.at(1, width - 1)] = -std::numeric_limits<float>::infinity();
  for (std::int64_t d = 0; d < width; ++d) {
    rows.x[rows.at(2, d)] *= 1e6f;
    rows.x[rows.at(3, d)] *= 1e-7f;
  }
  return rows;
}

/// Widths around vectors; rows wider than what is converted at once, and more rows than that.
void on_rows(const std::function<void(const SpacedRows&)>& check) {
  for (const std::int64_t width : kRowWidths) check(special_rows(5, width));
  check(special_rows(4, 5000));
  check(special_rows(9, 1024));
  check(special_rows(600, 7));
}

}  // namespace

TEST_CASE("rms_norm, layer_norm and softmax take every mix of types") {
  on_rows([](const SpacedRows& rows) {
    const auto width = static_cast<std::size_t>(rows.width);
    const std::vector<float> weight = normal_floats(width, 8), bias = normal_floats(width, 9);
    check_function(
        rows,
        {"rms_norm",
         [&](TypedRows& x, TypedRows& y) { rms_norm(x.view(), y.view(), weight, 1e-5f); },
         [&](const std::vector<float>& row) { return reference::normalized(row, weight, 1e-5f); }});
    check_function(rows, {"layer_norm",
                          [&](TypedRows& x, TypedRows& y) {
                            layer_norm(x.view(), y.view(), {.weight = weight, .bias = bias});
                          },
                          [&](const std::vector<float>& row) {
                            return reference::layer_norm(row, weight, bias, 1e-5f).y;
                          }});
    check_function(rows,
                   {"softmax", [](TypedRows& x, TypedRows& y) { softmax(x.heads(), y.heads()); },
                    [](const std::vector<float>& row) { return reference::softmax(row); }});
  });
}

TEST_CASE("apply_rope takes every mix of types, by position and by given positions") {
  for (const Rope style : {Rope::half, Rope::interleaved}) {
    on_rows([&](const SpacedRows& rows) {
      if (rows.width < 2) return;
      const std::int64_t dims = rows.width / 2 * 2 - (rows.width > 8 ? 4 : 0);
      const RopeTable table(style, {.rotary_dims = dims, .positions = 700});
      std::vector<std::int64_t> positions(static_cast<std::size_t>(rows.rows));
      std::iota(positions.rbegin(), positions.rend(), std::int64_t{50});
      std::int64_t next = 50;
      check_function(
          rows, {"apply_rope",
                 [&](TypedRows& x, TypedRows& y) { apply_rope(x.heads(), y.heads(), table, 50); },
                 [&](const std::vector<float>& row) {
                   const std::int64_t position = next;
                   next = next + 1 < 50 + rows.rows ? next + 1 : 50;
                   return reference::rotated(row, table, position);
                 }});
      std::size_t at = 0;
      const TensorView<const std::int64_t, 2> given(positions.data(), {1, rows.rows});
      check_function(rows, {"apply_rope at positions",
                            [&](TypedRows& x, TypedRows& y) {
                              apply_rope(x.heads(), y.heads(), table, given);
                            },
                            [&](const std::vector<float>& row) {
                              const std::int64_t position = positions[at];
                              at = (at + 1) % positions.size();
                              return reference::rotated(row, table, position);
                            }});
    });
  }
}

TEST_CASE("embedding_lookup widens and rounds, and copies rows of its own type bit for bit") {
  const std::vector<std::int64_t> ids{3, 0, 3, 4};
  for (const std::int64_t width : {1, 16, 33, 600}) {
    const SpacedRows rows = special_rows(5, width), result(4, width, 3);
    for (const DType from : kTypes) {
      for (const DType to : kTypes) {
        TypedRows table(rows, rows.x, from), want(result, result.unwritten(), to);
        for (std::int64_t i = 0; i < 4; ++i) {
          const TensorView<const void, 2> row =
              table.view().sliced(0, ids[static_cast<std::size_t>(i)], 1);
          reference::each_row(row, want.view().sliced(0, i, 1),
                              [](const std::vector<float>& x) { return x; });
        }
        for (const Isa isa : available_isas()) {
          const ForcedIsa forced(isa);
          TypedRows y(result, result.unwritten(), to);
          embedding_lookup(table.view(), ids, y.view());
          CHECK_MESSAGE(same(y, want), dtype_name(from), " to ", dtype_name(to), " on ",
                        isa_name(isa), ", width ", width);
        }
      }
    }
  }
  std::uint16_t nan = 0xfd23, copy = 0;
  const auto half = [](std::uint16_t* bits) {
    return TensorView<void, 2>(bits, DType::f16, {1, 1}, {1, 1});
  };
  embedding_lookup(half(&nan), std::vector<std::int64_t>{0}, half(&copy));
  CHECK(copy == nan);
}

TEST_CASE("layer_norm of 16 bits has the means of the widened rows") {
  for (const DType type : {DType::bf16, DType::f16}) {
    const SpacedRows rows(700, 21, 3);  // more than a part, more than is converted at once
    TypedRows x(rows, rows.x, type), y(rows, rows.unwritten(), type);
    std::vector<float> widened = rows.x;
    round_to(type, widened);
    std::vector<float> mean(700), inverse(700), want_mean(700), want_inverse(700);
    layer_norm(x.view(), y.view(), {.mean = mean, .inverse_deviation = inverse});
    layer_norm(rows.view(widened), rows.view(widened),
               {.mean = want_mean, .inverse_deviation = want_inverse});
    CHECK(same_bits(mean, want_mean));
    CHECK(same_bits(inverse, want_inverse));
  }
}

TEST_CASE("rows of 16 bits of width 0 have the mean NaN") {
  std::vector<float> mean(6, kUntouched);
  const TensorView<void, 2> rows(nullptr, DType::bf16, {6, 0});
  layer_norm(rows, rows, {.mean = mean});
  CHECK(same_bits(mean, std::vector<float>(6, std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("rows of 16 bits have the same bits on one thread and on many, in any order of heads") {
  const std::int64_t batch = 2, tokens = 900, heads = 3, width = 64;
  const std::vector<float> x = normal_floats(static_cast<std::size_t>(2 * 900 * 3 * 64), 5);
  for (const DType type : {DType::bf16, DType::f16}) {
    std::vector<std::uint16_t> halves, one(x.size()), many(x.size());
    for (const float component : x) halves.push_back(narrow_bits(component, type));
    const auto by_heads = [&](std::vector<std::uint16_t>& memory) {
      return TensorView<void, 4>(memory.data(), type, {batch, tokens, heads, width}).swapped(1, 2);
    };
    in_arena(1, [&] {
      rms_norm(TensorView<void, 2>(halves.data(), type, {batch * tokens * heads, width}),
               TensorView<void, 2>(one.data(), type, {batch * tokens * heads, width}));
    });
    in_arena(4, [&] { rms_norm(by_heads(halves), by_heads(many)); });
    CHECK(one == many);
  }
}

TEST_CASE("types that a function of rows cannot take are errors that name argument and type") {
  const RopeTable table(Rope::half, {.rotary_dims = 8, .positions = 5});
  alignas(8) std::uint16_t memory[64] = {}, result[64] = {};
  using View = TensorView<void, 2>;
  const View x(memory, DType::bf16, {2, 8}), y(result, DType::f16, {2, 8});
  const View beside(reinterpret_cast<char*>(memory) + 1, DType::bf16, {2, 8});
  const View two_beside(memory + 1, DType::f32, {2, 8});
  const std::vector<std::int64_t> ids{0, 1};
  const auto heads = [](const View& view) {
    return TensorView<void, 4>(view.data, view.dtype, {1, 1, 2, 8});
  };
  const std::function<void(View, View)> calls[] = {
      [](View a, View b) { rms_norm(a, b); },
      [](View a, View b) { layer_norm(a, b); },
      [](View a, View b) { softmax(a, b); },
      [&](View a, View b) { softmax(heads(a), heads(b)); },
      [&](View a, View b) { apply_rope(heads(a), heads(b), table); },
      [&](View a, View b) { embedding_lookup(a, ids, b); }};
  std::size_t call = 0;
  for (const auto& function : calls) {
    const std::string x_name = ++call == std::size(calls) ? "table" : "x";
    const auto check = [&](View a, View b, const std::string& sentence) {
      CHECK(sentence_of([&] { function(a, b); }) == sentence);
    };
    for (const DType type : {DType::i8, DType::f64, DType::other, static_cast<DType>(77)}) {
      View wrong_x = x, wrong_y = y;
      wrong_x.dtype = wrong_y.dtype = type;
      const std::string name(dtype_name(type));
      check(wrong_x, y, x_name + ": type " + name + " is none of f32, bf16 and f16");
      check(x, wrong_y, "y: type " + name + " is none of f32, bf16 and f16");
    }
    check(beside, y, x_name + ": the address is not a multiple of the 2 bytes of an element");
    check(two_beside, y, x_name + ": the address is not a multiple of the 4 bytes of an element");
    check(y, beside, "y: the address is not a multiple of the 2 bytes of an element");
    const View other_type(memory, DType::f16, {2, 8}), wider(memory, DType::f32, {2, 8});
    check(x, other_type, "y: overlaps " + x_name);
    check(x, wider, "y: overlaps " + x_name);
    check(wider, x, "y: overlaps " + x_name);
  }
  for (const std::uint16_t bits : result) CHECK(bits == 0);
}

}  // namespace rapt::test
