// The fixed problems of functions of rows: layer_norm() and softmax().
#include "attention/fixed_problems.hpp"
#include "core/random.hpp"
#include "rapt/layer_norm.hpp"
#include "rapt/softmax.hpp"
#include "reference/row_functions.hpp"

#include <algorithm>
#include <cstddef>
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
  return list;
}

}  // namespace rapt::test
