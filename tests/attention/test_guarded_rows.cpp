// Row functions stay inside their tensors for every width: merge(), norms, softmax(), apply_rope(),
// a layer. Each tensor ends at an inaccessible memory page.
#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/guarded_floats.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

namespace rapt::test {
namespace {

using At = GuardedFloats::At;

const std::vector<std::int64_t> kWidths{1, 2, 7, 15, 16, 17, 31, 32, 33, 65};

/// Compares the bits of every ISA; an access outside a tensor crashes.
void check_every_isa(const std::function<std::vector<float>()>& results) {
  std::vector<float> want;
  {
    const ForcedIsa forced(Isa::scalar);
    want = results();
  }
  for (const Isa isa : available_isas()) {
    const ForcedIsa forced(isa);
    CHECK_MESSAGE(same_bits(results(), want), isa_name(isa));
  }
}

/// Calls check(rows, width, at) for every shape.
void for_every_shape(const std::function<void(std::int64_t, std::int64_t, At)>& check) {
  for (const At at : {At::end, At::start}) {
    for (const std::int64_t rows : {1, 3, 20}) {
      for (const std::int64_t width : kWidths) {
        CAPTURE(rows);
        CAPTURE(width);
        check(rows, width, at);
      }
    }
  }
}

}  // namespace

TEST_CASE("merge() stays inside states and results for every width") {
  for_every_shape([](std::int64_t rows, std::int64_t width, At at) {
    const std::size_t floats = count_of(rows, width), few = count_of(rows, 1);
    const GuardedFloats mx(few, at), lx(few, at), ox(floats, at), my(few, at), ly(few, at),
        oy(floats, at), m(few, at), l(few, at), o(floats, at);
    std::uint64_t seed = 1;
    for (const GuardedFloats* x : {&mx, &lx, &ox, &my, &ly, &oy}) fill_normal(*x, seed++);
    for (const GuardedFloats* x : {&lx, &ly}) {
      for (float& value : *x) value = std::abs(value) + 0.5f;
    }
    const auto scalars = [&](const GuardedFloats& x) {
      return TensorView<float, 3>(x.data(), {1, 1, rows});
    };
    const auto vectors = [&](const GuardedFloats& x) {
      return TensorView<float, 4>(x.data(), {1, 1, rows, width});
    };
    check_every_isa([&] {
      merge(AttentionState<const float>(scalars(mx), scalars(lx), vectors(ox)),
            AttentionState<const float>(scalars(my), scalars(ly), vectors(oy)),
            AttentionState<float>(scalars(m), scalars(l), vectors(o)));
      std::vector<float> all = joined({&m, &l, &o});
      merge(AttentionResult<const float>{vectors(ox), scalars(mx)},
            AttentionResult<const float>{vectors(oy), scalars(my)},
            AttentionResult<float>{vectors(o), scalars(m)});
      const std::vector<float> results = joined({&m, &o});
      all.insert(all.end(), results.begin(), results.end());
      return all;
    });
  });
}

TEST_CASE("rms_norm() stays inside rows and weights for every width") {
  for_every_shape([](std::int64_t rows, std::int64_t width, At at) {
    const GuardedFloats x(count_of(rows, width), at), y(count_of(rows, width), at),
        weight(count_of(width, 1), at);
    fill_normal(x, 1);
    fill_normal(weight, 2);
    check_every_isa([&] {
      rms_norm(TensorView<const float, 2>(x.data(), {rows, width}),
               TensorView<float, 2>(y.data(), {rows, width}),
               {weight.data(), static_cast<std::size_t>(width)});
      return joined({&y});
    });
  });
}

TEST_CASE("layer_norm() stays inside rows, weights and outputs for every width") {
  for_every_shape([](std::int64_t rows, std::int64_t width, At at) {
    const GuardedFloats x(count_of(rows, width), at), y(count_of(rows, width), at),
        weight(count_of(width, 1), at), bias(count_of(width, 1), at), mean(count_of(rows, 1), at),
        inverse(count_of(rows, 1), at);
    fill_normal(x, 1);
    fill_normal(weight, 2);
    fill_normal(bias, 3);
    const auto n = static_cast<std::size_t>(width), m = static_cast<std::size_t>(rows);
    check_every_isa([&] {
      layer_norm(TensorView<const float, 2>(x.data(), {rows, width}),
                 TensorView<float, 2>(y.data(), {rows, width}),
                 {.weight = {weight.data(), n},
                  .bias = {bias.data(), n},
                  .mean = {mean.data(), m},
                  .inverse_deviation = {inverse.data(), m}});
      return joined({&y, &mean, &inverse});
    });
  });
}

TEST_CASE("softmax() stays inside its rows for every width") {
  for_every_shape([](std::int64_t rows, std::int64_t width, At at) {
    const GuardedFloats x(count_of(rows, width), at), y(count_of(rows, width), at);
    fill_normal(x, 1);
    check_every_isa([&] {
      softmax(TensorView<const float, 2>(x.data(), {rows, width}),
              TensorView<float, 2>(y.data(), {rows, width}));
      return joined({&y});
    });
  });
}

TEST_CASE("apply_rope() stays inside rows, tables and positions for every width") {
  for_every_shape([](std::int64_t rows, std::int64_t width, At at) {
    const std::int64_t pairs = (width + 1) / 2, dim = 2 * pairs + width % 2;
    const GuardedFloats x(count_of(rows, dim), at), y(count_of(rows, dim), at),
        cos(count_of(rows, pairs), at), sin(count_of(rows, pairs), at);
    std::uint64_t seed = 1;
    for (const GuardedFloats* values : {&x, &cos, &sin}) fill_normal(*values, seed++);
    using Longs = GuardedBuffer<std::int64_t>;
    const Longs positions(count_of(rows, 1), at == At::end ? Longs::At::end : Longs::At::start);
    for (std::int64_t i = 0; i < rows; ++i) positions.data()[i] = rows - 1 - i;
    for (const Rope style : {Rope::half, Rope::interleaved}) {
      const RopeView table(style, {cos.data(), {rows, pairs}}, {sin.data(), {rows, pairs}});
      check_every_isa([&] {
        apply_rope({x.data(), {1, 1, rows, dim}}, {y.data(), {1, 1, rows, dim}}, table,
                   TensorView<const std::int64_t, 2>(positions.data(), {1, rows}));
        return joined({&y});
      });
    }
  });
}

TEST_CASE("a layer stays inside its tensors for every width") {
  for_every_shape([](std::int64_t rows, std::int64_t width, At at) {
    MultiHeadAttentionConfig config = config_of(width, 2, 1, 16, 20);
    config.kv_model_dim = width + 1;
    const LayerProblem p = make_layer(9, config);
    const MultiHeadAttention layer = p.layer();
    const GuardedFloats x(count_of(rows, width), at), context(count_of(rows, width + 1), at),
        y(count_of(rows, width), at);
    fill_normal(x, 1);
    fill_normal(context, 2);
    check_every_isa([&] {
      layer.forward({x.data(), {1, rows, width}}, {context.data(), {1, rows, width + 1}},
                    {y.data(), {1, rows, width}});
      return joined({&y});
    });
  });
}

}  // namespace rapt::test
