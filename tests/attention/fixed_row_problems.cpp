// The fixed problems of functions of rows, and of rows of 16 bits.
#include "attention/fixed_problems.hpp"
#include "core/random.hpp"
#include "rapt/layer_norm.hpp"
#include "rapt/rms_norm.hpp"
#include "rapt/rope.hpp"
#include "rapt/softmax.hpp"
#include "reference/row_functions.hpp"
#include "reference/rows.hpp"
#include "support/typed.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

namespace rapt::test {
namespace {

constexpr std::int64_t kRows = 5;

std::vector<float> normals(std::int64_t count, Random& random, float scale, float offset) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = random.normal() * scale + offset;
  return values;
}

/// The rows of x, each by `function`, one after the other.
template <class Function>
std::vector<float> each_row(const std::vector<float>& x, std::int64_t width,
                            const Function& function) {
  std::vector<float> all;
  for (std::int64_t row = 0; row < kRows; ++row) {
    const std::vector<float> y = function(std::span(x).subspan(
        static_cast<std::size_t>(row * width), static_cast<std::size_t>(width)));
    all.insert(all.end(), y.begin(), y.end());
  }
  return all;
}

struct LayerNormCase {
  const char* name;
  std::int64_t width;
  bool weighted, biased;
  float offset;
};

constexpr LayerNormCase kLayerNormCases[] = {
    {"layer_norm.one", 1, true, true, 0.0f},
    {"layer_norm.plain", 768, false, false, 0.0f},
    {"layer_norm.affine", 301, true, true, 3.0f},
    {"layer_norm.bias_far", 64, false, true, 1e4f},
    {"layer_norm.weight_rest", 31, true, false, -2.0f},
};

/// The rows, then their means, then their inverse deviations.
std::vector<float> solve_layer_norm(const LayerNormCase& p, const Engine& engine) {
  Random random(hash_text(p.name));
  const std::vector<float> x = normals(kRows * p.width, random, 1.0f, p.offset);
  const std::vector<float> weight = normals(p.weighted ? p.width : 0, random, 1.0f, 0.0f);
  const std::vector<float> bias = normals(p.biased ? p.width : 0, random, 1.0f, 0.0f);
  std::vector<float> y, mean, inverse;
  if (engine.statement) {
    y = each_row(x, p.width, [&](std::span<const float> row) {
      auto normalized = reference::layer_norm(row, weight, bias, 1e-5f);
      mean.push_back(normalized.mean);
      inverse.push_back(normalized.inverse_deviation);
      return std::move(normalized.y);
    });
  } else {
    y.resize(x.size());
    mean.resize(kRows);
    inverse.resize(kRows);
    layer_norm({x.data(), {kRows, p.width}}, {y.data(), {kRows, p.width}},
               {.weight = weight, .bias = bias, .mean = mean, .inverse_deviation = inverse});
  }
  y.insert(y.end(), mean.begin(), mean.end());
  y.insert(y.end(), inverse.begin(), inverse.end());
  return y;
}

struct SoftmaxCase {
  const char* name;
  std::int64_t width;
  float spread;
  bool masked;
};

constexpr SoftmaxCase kSoftmaxCases[] = {
    {"softmax.one", 1, 1.0f, false},
    {"softmax.narrow", 1000, 1.0f, false},
    {"softmax.wide", 301, 60.0f, false},
    {"softmax.masked", 47, 3.0f, true},
};

std::vector<float> solve_softmax(const SoftmaxCase& p, const Engine& engine) {
  Random random(hash_text(p.name));
  std::vector<float> x = normals(kRows * p.width, random, p.spread, 0.0f);
  if (p.masked) {  // a row without an element, one with the first alone, one with every other
    const float hidden = -std::numeric_limits<float>::infinity();
    std::fill_n(x.begin(), 2 * p.width, hidden);
    x[static_cast<std::size_t>(p.width)] = 2.0f;
    for (std::int64_t d = 2 * p.width; d < 3 * p.width; d += 2) {
      x[static_cast<std::size_t>(d)] = hidden;
    }
  }
  if (engine.statement) return each_row(x, p.width, reference::softmax);
  softmax({x.data(), {kRows, p.width}}, {x.data(), {kRows, p.width}});
  return x;
}

// --- rows of any type

/// Normal numbers of one type, and results of another.
struct TypedCase {
  const char* name;
  DType from, to;
  std::int64_t width;
  float scale;
};

constexpr TypedCase kTypedCases[] = {
    {"rms_norm.bf16", DType::bf16, DType::bf16, 129, 1.0f},
    {"rms_norm.f16_to_f32", DType::f16, DType::f32, 40, 3e-5f},
    {"layer_norm.f16", DType::f16, DType::f16, 768, 1.0f},
    {"softmax.f32_to_f16", DType::f32, DType::f16, 301, 4.0f},
    {"rope.bf16_to_f16", DType::bf16, DType::f16, 70, 3e4f},
};

std::vector<float> stated_row(const TypedCase& p, const std::vector<float>& weight,
                              const RopeView& table, const std::vector<float>& row) {
  const std::string name = p.name;
  if (name.starts_with("rms_norm")) return reference::normalized(row, weight, 1e-6f);
  if (name.starts_with("layer_norm")) return reference::layer_norm(row, weight, {}, 1e-5f).y;
  if (name.starts_with("softmax")) return reference::softmax(row);
  return reference::rotated(row, table, 3);
}

void run_rows(const TypedCase& p, const std::vector<float>& weight, const RopeView& table,
              const TensorView<const void, 2>& x, const TensorView<void, 2>& y) {
  const std::string name = p.name;
  if (name.starts_with("rms_norm")) return rms_norm(x, y, weight);
  if (name.starts_with("layer_norm")) return layer_norm(x, y, {.weight = weight});
  if (name.starts_with("softmax")) return softmax(x, y);
  const std::vector<std::int64_t> positions(static_cast<std::size_t>(kRows), 3);
  apply_rope({x.data, x.dtype, {1, 1, kRows, p.width}}, {y.data, y.dtype, {1, 1, kRows, p.width}},
             table, TensorView<const std::int64_t, 2>(positions.data(), {1, kRows}));
}

std::vector<float> solve_typed(const TypedCase& p, const Engine& engine) {
  Random random(hash_text(p.name));
  const std::vector<float> x = normals(kRows * p.width, random, p.scale, 0.0f);
  const std::vector<float> weight = normals(p.width, random, 1.0f, 0.0f);
  const RopeTable table(Rope::half, {.rotary_dims = p.width / 4 * 2, .positions = 4});
  const std::array<std::int64_t, 2> shape{kRows, p.width};
  std::vector<std::uint16_t> x_memory, y_memory(x.size());
  std::vector<float> x_floats = x, y(x.size());
  const auto from =
      typed_view(TensorView<float, 2>(x_floats.data(), shape), x_floats, p.from, x_memory);
  TensorView<void, 2> to(y.data(), shape);
  if (p.to != DType::f32) to = {y_memory.data(), p.to, shape};
  if (engine.statement) {
    reference::each_row(
        from, to, [&](const std::vector<float>& row) { return stated_row(p, weight, table, row); });
  } else {
    run_rows(p, weight, table, from, to);
  }
  if (p.to == DType::f32) return y;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = widened_bits(y_memory[i], p.to);
  return y;
}

}  // namespace

std::vector<FixedProblem> fixed_row_problems() {
  std::vector<FixedProblem> list;
  for (const LayerNormCase& problem : kLayerNormCases) {
    list.push_back(
        {problem.name, [&problem](const Engine& e) { return solve_layer_norm(problem, e); }});
  }
  for (const SoftmaxCase& problem : kSoftmaxCases) {
    list.push_back(
        {problem.name, [&problem](const Engine& e) { return solve_softmax(problem, e); }});
  }
  for (const TypedCase& problem : kTypedCases) {
    list.push_back({problem.name, [&problem](const Engine& e) { return solve_typed(problem, e); }});
  }
  return list;
}

}  // namespace rapt::test
