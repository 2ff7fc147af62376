// The textbook's example, 5 words of 16 features and 4 heads of 4, against its own loops in
// float64.
#include "formats/file_bytes.hpp"
#include "layer/layer_bounds.hpp"
#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/problems.hpp"
#include "support/temporary_directory.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr int kVocabulary = 10, kTokens = 5, kDim = 16, kHeads = 4, kHeadDim = 4;
using Matrix = std::vector<std::vector<double>>;

struct Article {
  std::vector<std::int64_t> ids{2, 6, 8, 3, 1};  // "my name is Marcello Politi"
  std::vector<float> table = normal_floats(kVocabulary * kDim, 201);
  std::vector<float> w_query = normal_floats(kHeads * kDim * kHeadDim, 202);  // [h, d, e]
  std::vector<float> w_key = normal_floats(kHeads * kDim * kHeadDim, 203);
  std::vector<float> w_value = normal_floats(kHeads * kDim * kHeadDim, 204);
  std::vector<float> w_output = normal_floats(kDim * kDim, 205);  // [d_in, d_out]
};

/// einsum('sd,de->se', x, w) for head h of w [h, d, e].
Matrix multiply_head(const Matrix& x, const std::vector<float>& w, int h) {
  Matrix y(kTokens, std::vector<double>(kHeadDim));
  for (int s = 0; s < kTokens; ++s) {
    for (int d = 0; d < kDim; ++d) {
      for (int e = 0; e < kHeadDim; ++e) y[s][e] += x[s][d] * w[(h * kDim + d) * kHeadDim + e];
    }
  }
  return y;
}

/// One head: scores q k^T / sqrt(d_k), softmax, z_i = a_i1 v_1 + ... + a_i5 v_5.
Matrix attend_head(const Matrix& q, const Matrix& k, const Matrix& v) {
  Matrix z(kTokens, std::vector<double>(kHeadDim));
  for (int i = 0; i < kTokens; ++i) {
    std::vector<double> a(kTokens);
    double sum = 0.0;
    for (int j = 0; j < kTokens; ++j) {
      for (int e = 0; e < kHeadDim; ++e) a[j] += q[i][e] * k[j][e];
      a[j] = std::exp(a[j] / std::sqrt(double{kHeadDim}));
      sum += a[j];
    }
    for (int j = 0; j < kTokens; ++j) {
      for (int e = 0; e < kHeadDim; ++e) z[i][e] += a[j] / sum * v[j][e];
    }
  }
  return z;
}

/// The whole computation in the order of the text: embedding, heads one after another,
/// concatenation, w_output.
Matrix from_scratch(const Article& article) {
  Matrix x;
  for (const std::int64_t id : article.ids) {
    const auto row = article.table.begin() + id * kDim;
    x.emplace_back(row, row + kDim);
  }
  Matrix joined(kTokens);
  for (int h = 0; h < kHeads; ++h) {
    const Matrix z =
        attend_head(multiply_head(x, article.w_query, h), multiply_head(x, article.w_key, h),
                    multiply_head(x, article.w_value, h));
    for (int s = 0; s < kTokens; ++s) joined[s].insert(joined[s].end(), z[s].begin(), z[s].end());
  }
  Matrix y(kTokens, std::vector<double>(kDim));
  for (int s = 0; s < kTokens; ++s) {
    for (int d = 0; d < kDim; ++d) {
      for (int o = 0; o < kDim; ++o) y[s][o] += joined[s][d] * article.w_output[d * kDim + o];
    }
  }
  return y;
}

/// [h, d, e] as the matrix [h * e, d].
Projection as_matrix(const std::vector<float>& per_head) {
  Projection p{kDim, kDim, {}, {}};
  for (int h = 0; h < kHeads; ++h) {
    for (int e = 0; e < kHeadDim; ++e) {
      for (int d = 0; d < kDim; ++d) p.weight.push_back(per_head[(h * kDim + d) * kHeadDim + e]);
    }
  }
  return p;
}

/// The standard deviation of each element of y for the same layer.
Estimate estimate(const Article& article, const std::vector<float>& x) {
  Projection output{kDim, kDim, {}, {}};
  for (int o = 0; o < kDim; ++o) {
    for (int d = 0; d < kDim; ++d) output.weight.push_back(article.w_output[d * kDim + o]);
  }
  return estimate_layer(
      {config_of(kDim, kHeads, kHeads, kHeadDim, kHeadDim), as_matrix(article.w_query),
       as_matrix(article.w_key), as_matrix(article.w_value), output},
      x);
}

TEST_CASE("embedding, heads, concatenation and w_output equal the textbook's, on every ISA") {
  const Article article;
  const Matrix expected = from_scratch(article);

  const TensorView<const float, 2> w_output(article.w_output.data(), {kDim, kDim});
  const auto per_head = [](const std::vector<float>& w) {
    return Linear::from_heads({w.data(), {kHeads, kDim, kHeadDim}});
  };
  const MultiHeadAttention layer({.model_dim = kDim, .num_heads = kHeads},
                                 {per_head(article.w_query), per_head(article.w_key),
                                  per_head(article.w_value), Linear(w_output.swapped(0, 1))});
  std::vector<float> x(kTokens * kDim), first;
  embedding_lookup({article.table.data(), {kVocabulary, kDim}}, article.ids,
                   {x.data(), {kTokens, kDim}});
  const Estimate off = estimate(article, x);
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    std::vector<float> y(kTokens * kDim);
    layer.forward({x.data(), {1, kTokens, kDim}}, {y.data(), {1, kTokens, kDim}});
    for (std::size_t s = 0; s < kTokens; ++s) {
      for (std::size_t d = 0; d < kDim; ++d) {
        CHECK(std::abs(y[s * kDim + d] - expected[s][d]) <= kDeviations * off.off(s, d));
      }
    }
    if (first.empty()) first = y;
    CHECK(same_bits(y, first));
  }
}

TEST_CASE("a projection from a file gives the bits of the same numbers in memory") {
  constexpr std::int64_t kModelDim = 384;
  const std::vector<float> weight = normal_floats(kModelDim * kModelDim, 206);
  const std::vector<float> bias = normal_floats(kModelDim, 207);
  const TemporaryDirectory directory;
  const std::string path = directory.write(
      "model.safetensors",
      safetensors_bytes(R"({"encoder.layer.0.attention.self.query.weight":)"
                        R"({"dtype":"F32","shape":[384,384],"data_offsets":[0,589824]},)"
                        R"("encoder.layer.0.attention.self.query.bias":)"
                        R"({"dtype":"F32","shape":[384],"data_offsets":[589824,591360]}})",
                        bytes_of(weight) + bytes_of(bias)));

  const rapt::SafetensorsFile file(path);
  const rapt::Linear query(file.at("encoder.layer.0.attention.self.query.weight").view<2>(),
                           file.at("encoder.layer.0.attention.self.query.bias").copy_as_float());
  const Linear same({weight.data(), {kModelDim, kModelDim}}, bias);
  const std::vector<float> x = normal_floats(kTokens * kModelDim, 208);
  std::vector<float> from_file(x.size()), from_memory(x.size());
  query.forward({x.data(), {kTokens, kModelDim}}, {from_file.data(), {kTokens, kModelDim}});
  same.forward({x.data(), {kTokens, kModelDim}}, {from_memory.data(), {kTokens, kModelDim}});
  CHECK(same_bits(from_file, from_memory));
}

}  // namespace
}  // namespace rapt::test
