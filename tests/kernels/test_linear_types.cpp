// Linear with weights, rows and results of every mix of types: the bits of the scalar statement,
// its bound against float64, and the sentences for wrong arguments.
#include "kernels/abi/arithmetic.hpp"
#include "kernels/kernel_sets.hpp"
#include "rapt/isa.hpp"
#include "rapt/linear.hpp"
#include "reference/elements.hpp"
#include "reference/naive64.hpp"
#include "reference/scalar.hpp"
#include "support/arena.hpp"
#include "support/bounds.hpp"
#include "support/guarded_buffer.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"
#include "support/test_level.hpp"
#include "support/typed.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16};

struct LinearTypes {
  DType weight, x, y;
};

std::vector<LinearTypes> all_types() {
  std::vector<LinearTypes> all;
  for (const DType weight : kTypes) {
    for (const DType x : kTypes) {
      for (const DType y : kTypes) all.push_back({weight, x, y});
    }
  }
  return all;
}

/// Bytes of a tensor [rows, width] of a type, with rows `stride` elements apart; all are 0x5a at
/// first.
struct TypedRows {
  TypedRows(DType type_, std::int64_t rows, std::int64_t width, std::int64_t stride)
      : type(type_),
        shape{rows, width},
        strides{stride, 1},
        bytes(index(rows * stride) * dtype_size(type), 0x5a) {}
  TensorView<void, 2> view() { return {bytes.data(), type, shape, strides}; }

  DType type;
  std::array<std::int64_t, 2> shape, strides;
  std::vector<unsigned char> bytes;
};

struct TypedLinear {
  /// x has one input of 1000 per row, so that sums of depth blocks differ in size.
  TypedLinear(std::int64_t rows_, std::int64_t in_, std::int64_t out_, const LinearTypes& types_)
      : rows(rows_),
        in(in_),
        out(out_),
        types(types_),
        x(normal_floats(index(rows * in), 1)),
        weight(normal_floats(index(out * in), 2)),
        bias(normal_floats(index(out), 3)) {
    for (std::int64_t i = 0; i < rows; ++i) x[index(i * in + i % in)] *= 1000.0f;
    x_view = typed_view<2>({x.data(), {rows, in}}, x, types.x, x_memory);
    weight_view = typed_view<2>({weight.data(), {out, in}}, weight, types.weight, weight_memory);
  }
  TypedLinear(const TypedLinear&) = delete;

  std::vector<unsigned char> reference() const {
    TypedRows y(types.y, rows, out, out + 3);
    reference::linear(x_view, weight_view, bias, y.view());
    return y.bytes;
  }
  std::vector<unsigned char> forward(const Linear& layer) const {
    TypedRows y(types.y, rows, out, out + 3);
    layer.forward(x_view, y.view());
    return y.bytes;
  }

  std::int64_t rows, in, out;
  LinearTypes types;
  std::vector<float> x, weight, bias;
  std::vector<std::uint16_t> x_memory, weight_memory;
  TensorView<const void, 2> x_view, weight_view;
};

void check_every_isa(const TypedLinear& problem) {
  const std::vector<unsigned char> want = problem.reference();
  const Linear layer(problem.weight_view, problem.bias);
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    CHECK_MESSAGE(problem.forward(layer) == want, isa_name(isa), ": rows ", problem.rows, " in ",
                  problem.in, " out ", problem.out, ", weight ", dtype_name(problem.types.weight),
                  ", x ", dtype_name(problem.types.x), ", y ", dtype_name(problem.types.y));
  }
}

}  // namespace

TEST_CASE("a linear layer of any types has the bits of the scalar statement on every ISA") {
  constexpr std::int64_t kBlock = kernels::kDepthBlock;
  const std::vector<LinearTypes> all = all_types();
  std::size_t next = 0;
  for (std::int64_t rows = 1; rows <= 40; ++rows) {
    for (const LinearTypes& types : all) {
      check_every_isa({rows, 35, 33, types});
      check_every_isa({rows, 16, 64, types});
    }
    // Each number of rows with several of the types, each type with several numbers of rows.
    for (const std::int64_t in : {kBlock - 1, kBlock, kBlock + 1, 2 * kBlock + 3}) {
      if (quick() && rows > 14) break;
      check_every_isa({rows, in, 47, all[next++ % all.size()]});
    }
  }
  for (const LinearTypes& types : all) {
    check_every_isa({3, 2 * kBlock + 3, 40, types});
    check_every_isa({14, kBlock + 1, 40, types});
  }
}

TEST_CASE("results of 16 bits are the same for more columns than are summed at once, and rows") {
  for (const DType y : {DType::bf16, DType::f16}) {
    for (const std::int64_t rows : {1, 7, 15}) {
      check_every_isa({rows, 520, 2100, {DType::bf16, DType::f32, y}});
    }
    check_every_isa({450, 30, 70, {DType::f16, DType::f16, y}});
  }
}

TEST_CASE("every bit pattern of 16 bits is a weight, and a NaN stays in its column") {
  constexpr std::int64_t kPatterns = 65536;
  std::vector<std::uint16_t> bits(kPatterns);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  const float one = 1.0f;
  for (const DType type : {DType::bf16, DType::f16}) {
    const TensorView<const void, 2> weight(bits.data(), type, {kPatterns, 1});
    const Linear layer(weight);
    for (const DType y_type : kTypes) {
      TypedRows want(y_type, 1, kPatterns, kPatterns), got = want;
      reference::linear(TensorView<const float, 2>(&one, {1, 1}), weight, {}, want.view());
      for (const Isa isa : available_isas()) {
        const ForcedIsa forced(isa);
        layer.forward(TensorView<const float, 2>(&one, {1, 1}), got.view());
        CHECK_MESSAGE(got.bytes == want.bytes, isa_name(isa), ", ", dtype_name(type), " to ",
                      dtype_name(y_type));
      }
    }
  }
}

TEST_CASE("weights of 16 bits may have any strides, and heads") {
  for (const DType type : {DType::bf16, DType::f16}) {
    const TypedLinear problem(5, 70, 48, {type, DType::f32, DType::f32});
    std::vector<std::uint16_t> by_column(48 * 70), by_head(48 * 70);
    for (std::int64_t e = 0; e < 48; ++e) {
      for (std::int64_t d = 0; d < 70; ++d) {
        const std::uint16_t bits = problem.weight_memory[index(e * 70 + d)];
        by_column[index(d * 48 + e)] = bits;
        by_head[index((e / 12 * 70 + d) * 12 + e % 12)] = bits;
      }
    }
    const std::vector<unsigned char> want = problem.reference();
    const Linear columns(TensorView<const void, 2>(by_column.data(), type, {48, 70}, {1, 48}),
                         problem.bias);
    CHECK(problem.forward(columns) == want);
    const Linear heads = Linear::from_heads({by_head.data(), type, {4, 70, 12}}, problem.bias);
    CHECK(problem.forward(heads) == want);
  }
}

TEST_CASE("a linear layer stays inside tensors of 16 bits for every tail shape") {
  using Bits = GuardedBuffer<std::uint16_t>;
  for (const Bits::At where : {Bits::At::end, Bits::At::start}) {
    for (const std::int64_t rows : {1, 7, 13}) {
      for (const std::int64_t in : {1, 7, 16, 33}) {
        for (const std::int64_t out : {1, 15, 17, 32, 65}) {
          const TypedLinear problem(rows, in, out, {DType::bf16, DType::bf16, DType::bf16});
          const Bits x(index(rows * in), where), weight(index(out * in), where);
          const Bits y(index(rows * out), where);
          std::ranges::copy(problem.x_memory, x.begin());
          std::ranges::copy(problem.weight_memory, weight.begin());
          std::vector<std::uint16_t> want(index(rows * out));
          reference::linear(problem.x_view, problem.weight_view, problem.bias,
                            {want.data(), DType::bf16, {rows, out}});
          const Linear layer({weight.data(), DType::bf16, {out, in}}, problem.bias);
          for (const Isa isa : available_isas()) {
            const ForcedIsa forced(isa);
            std::ranges::fill(y, std::uint16_t{0x5a5a});
            layer.forward({x.data(), DType::bf16, {rows, in}},
                          {y.data(), DType::bf16, {rows, out}});
            CHECK(std::ranges::equal(y, want));
          }
        }
      }
    }
  }
}

TEST_CASE("a linear layer of any types has the same bits on 1 thread and on several") {
  for (const std::int64_t rows : {1, 20, 400}) {
    for (const DType type : {DType::bf16, DType::f16}) {
      const TypedLinear problem(rows, 600, 700, {type, type, type});
      const Linear layer(problem.weight_view, problem.bias);
      for (const Isa isa : available_isas()) {
        if (isa == Isa::scalar && quick()) continue;
        const ForcedIsa forced(isa);
        const auto on = [&](int threads) {
          return in_arena(threads, [&] { return problem.forward(layer); });
        };
        const std::vector<unsigned char> want = on(1);
        for (const int threads : {2, 3, 8}) CHECK(on(threads) == want);
      }
    }
  }
}

TEST_CASE("a linear layer of any types keeps its bound against float64") {
  for (const LinearTypes& types : all_types()) {
    for (const std::int64_t in : {1, 100, 513, 2000}) {
      const TypedLinear problem(4, in, 33, types);
      const Linear layer(problem.weight_view, problem.bias);
      const reference::Linear64 want =
          reference::linear64(problem.x_view, problem.weight_view, problem.bias);
      TypedRows y(types.y, 4, 33, 33);
      layer.forward(problem.x_view, y.view());
      const TensorView<const void, 2> got = y.view();
      for (std::size_t i = 0; i < want.y.size(); ++i) {
        const auto at = static_cast<std::int64_t>(i);
        const double error =
            std::abs(double{reference::element(got, at / 33, at % 33)} - want.y[i]);
        const double in_f32 = linear_bound(in, want.magnitude[i]);
        CHECK(error <= rounded_bound(types.y, want.y[i], in_f32));
      }
    }
  }
}

TEST_CASE("wrong types and addresses of a linear layer are errors that name them") {
  TypedLinear p(3, 8, 5, {DType::bf16, DType::bf16, DType::bf16});
  const Linear layer(p.weight_view, p.bias);
  TypedRows y(DType::bf16, 3, 5, 5);
  const std::vector<unsigned char> unchanged = y.bytes;
  const auto with_type = [](TensorView<const void, 2> view, DType type) {
    view.dtype = type;
    return view;
  };
  const auto one_byte_on = [](TensorView<const void, 2> view) {
    view.data = static_cast<const char*>(view.data) + 1;
    return view;
  };
  CHECK(sentence_of([&] { Linear(with_type(p.weight_view, DType::i32)); }) ==
        "weight: type i32 is none of f32, bf16 and f16");
  CHECK(sentence_of([&] {
          Linear::from_heads({p.weight_memory.data(), DType::other, {1, 8, 5}});
        }) == "weight: type other is none of f32, bf16 and f16");
  CHECK(sentence_of([&] { Linear(one_byte_on(p.weight_view)); }) ==
        "weight: the address is not a multiple of the 2 bytes of an element");
  CHECK(sentence_of([&] { layer.forward(with_type(p.x_view, DType::i8), y.view()); }) ==
        "x: type i8 is none of f32, bf16 and f16");
  CHECK(sentence_of([&] { layer.forward(one_byte_on(p.x_view), y.view()); }) ==
        "x: the address is not a multiple of the 2 bytes of an element");
  CHECK(sentence_of([&] {
          layer.forward(p.x_view, {y.bytes.data(), DType::u16, {3, 5}});
        }) == "y: type u16 is none of f32, bf16 and f16");
  CHECK(sentence_of([&] {
          layer.forward(p.x_view, {y.bytes.data() + 1, DType::f16, {3, 5}});
        }) == "y: the address is not a multiple of the 2 bytes of an element");
  // x of 16 bits reaches 48 bytes, y of 32 bits begins in its last element.
  std::vector<float> shared(64, 1.0f);
  const std::vector<float> shared_before = shared;
  CHECK(sentence_of([&] {
          layer.forward({shared.data(), DType::bf16, {3, 8}}, {shared.data() + 11, {3, 5}});
        }) == "y: overlaps x");
  CHECK(same_bits(shared, shared_before));
  layer.forward({shared.data(), DType::bf16, {3, 8}}, {shared.data() + 12, {3, 5}});
  CHECK(y.bytes == unchanged);
}

}  // namespace rapt::test
