// The fixed problems of products and layers with elements of 16 bits.
#include "attention/fixed_problems.hpp"
#include "core/random.hpp"
#include "rapt/linear.hpp"
#include "rapt/multi_head_attention.hpp"
#include "reference/elements.hpp"
#include "reference/scalar.hpp"
#include "support/typed.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rapt::test {
namespace {

/// Normal numbers rounded to a type, in memory of that type.
struct Numbers {
  Numbers(std::int64_t count, float scale, DType type_, Random& random)
      : type(type_), floats(static_cast<std::size_t>(count)) {
    for (float& x : floats) x = random.normal() * scale;
  }

  template <int Rank>
  TensorView<const void, Rank> view(const std::array<std::int64_t, Rank>& shape) {
    return typed_view<Rank>({floats.data(), shape}, floats, type, memory);
  }

  DType type;
  std::vector<float> floats;
  std::vector<std::uint16_t> memory;
};

/// A result of a type, and its elements as floats.
struct Result {
  Result(DType type_, std::int64_t rows_, std::int64_t width_)
      : type(type_),
        rows(rows_),
        width(width_),
        memory(static_cast<std::size_t>(rows * width) * dtype_size(type)) {}

  TensorView<void, 2> view() { return {memory.data(), type, {rows, width}}; }
  std::vector<float> elements() {
    std::vector<float> all;
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t c = 0; c < width; ++c) {
        all.push_back(reference::element(TensorView<const void, 2>(view()), i, c));
      }
    }
    return all;
  }

  DType type;
  std::int64_t rows, width;
  std::vector<unsigned char> memory;
};

struct LinearCase {
  const char* name;
  std::int64_t rows, in, out;
  DType weight, x, y;
  bool with_bias;
};

constexpr LinearCase kLinearCases[] = {
    {"linear.bf16", 7, 1030, 50, DType::bf16, DType::bf16, DType::bf16, true},
    {"linear.f16", 7, 1030, 50, DType::f16, DType::f16, DType::f16, true},
    {"linear.row_bf16", 1, 700, 129, DType::bf16, DType::f32, DType::f32, false},
    {"linear.row_f16", 1, 700, 129, DType::f16, DType::f32, DType::f32, false},
    {"linear.mixed", 33, 513, 33, DType::bf16, DType::f32, DType::f16, true},
    {"linear.typed_rows", 15, 512, 64, DType::f32, DType::f16, DType::bf16, false},
};

std::vector<float> solve_linear(const LinearCase& p, const Engine& engine) {
  Random random(hash_text(p.name));
  Numbers weight(p.in * p.out, 0.125f, p.weight, random), x(p.rows * p.in, 1.0f, p.x, random);
  const Numbers bias(p.with_bias ? p.out : 0, 1.0f, DType::f32, random);
  Result y(p.y, p.rows, p.out);
  const auto w_view = weight.view<2>({p.out, p.in}), x_view = x.view<2>({p.rows, p.in});
  if (engine.statement) {
    reference::linear(x_view, w_view, bias.floats, y.view());
  } else {
    Linear(w_view, bias.floats).forward(x_view, y.view());
  }
  return y.elements();
}

struct LayerCase {
  const char* name;
  DType weight, x, y;
};

constexpr LayerCase kLayerCases[] = {
    {"layer.bf16", DType::bf16, DType::bf16, DType::bf16},
    {"layer.f16", DType::f16, DType::f16, DType::f16},
    {"layer.mixed", DType::bf16, DType::f32, DType::f16},
};

/// Causal self-attention of 29 tokens: 4 heads of 24 over 2 kv heads.
std::vector<float> solve_layer(const LayerCase& p, const Engine& engine) {
  constexpr std::int64_t kTokens = 29, kFeatures = 80, kHeads = 4, kKvHeads = 2, kDim = 24;
  constexpr std::int64_t kJoined = kHeads * kDim, kKvJoined = kKvHeads * kDim;
  Random random(hash_text(p.name));
  const auto weight = [&](std::int64_t out, std::int64_t in) {
    return Numbers(out * in, 0.125f, p.weight, random);
  };
  Numbers query = weight(kJoined, kFeatures), key = weight(kKvJoined, kFeatures);
  Numbers value = weight(kKvJoined, kFeatures), output = weight(kFeatures, kJoined);
  Numbers x(kTokens * kFeatures, 1.0f, p.x, random);
  const auto q_view = query.view<2>({kJoined, kFeatures});
  const auto k_view = key.view<2>({kKvJoined, kFeatures});
  const auto v_view = value.view<2>({kKvJoined, kFeatures});
  const auto o_view = output.view<2>({kFeatures, kJoined});
  const auto x_view = x.view<2>({kTokens, kFeatures});
  Result y(p.y, kTokens, kFeatures);
  if (!engine.statement) {
    const MultiHeadAttention layer(
        {.model_dim = kFeatures, .num_heads = kHeads, .num_kv_heads = kKvHeads, .head_dim = kDim},
        {Linear(q_view), Linear(k_view), Linear(v_view), Linear(o_view)});
    layer.forward({x_view.data, p.x, {1, kTokens, kFeatures}},
                  {y.memory.data(), p.y, {1, kTokens, kFeatures}}, {.mask = causal()});
    return y.elements();
  }
  Result q(DType::f32, kTokens, kJoined), k(DType::f32, kTokens, kKvJoined), v = k, z = q;
  reference::linear(x_view, q_view, {}, q.view());
  reference::linear(x_view, k_view, {}, k.view());
  reference::linear(x_view, v_view, {}, v.view());
  const auto by_head = [](Result& rows, std::int64_t heads) {
    return TensorView<void, 4>(rows.memory.data(), DType::f32, {1, kTokens, heads, kDim})
        .swapped(1, 2);
  };
  reference::attention(by_head(q, kHeads), by_head(k, kKvHeads), by_head(v, kKvHeads),
                       by_head(z, kHeads), {.mask = causal()});
  reference::linear(z.view(), o_view, {}, y.view());
  return y.elements();
}

}  // namespace

std::vector<FixedProblem> fixed_projection_problems() {
  std::vector<FixedProblem> list;
  for (const LinearCase& problem : kLinearCases) {
    list.push_back(
        {problem.name, [&problem](const Engine& e) { return solve_linear(problem, e); }});
  }
  for (const LayerCase& problem : kLayerCases) {
    list.push_back({problem.name, [&problem](const Engine& e) { return solve_layer(problem, e); }});
  }
  return list;
}

}  // namespace rapt::test
