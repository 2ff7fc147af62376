// Multi-head attention step by step: five words, 16 features, 4 heads of 4, and each step of the
// textbook next to the call that computes it. docs/attention_from_scratch.md walks through this
// file.
#include "rapt/rapt.hpp"

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

namespace {

constexpr std::int64_t kVocabulary = 10, kDim = 16, kHeads = 4, kHeadDim = 4, kTokens = 5;

/// Untrained weights: uniform in [-bound, bound).
std::vector<float> random_floats(std::mt19937& engine, std::int64_t count, float bound) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = (static_cast<float>(engine() >> 8) * 0x1p-23f - 1) * bound;
  return values;
}

void print_row(const char* name, const float* row, std::int64_t count) {
  std::printf("%-30s", name);
  for (std::int64_t i = 0; i < count; ++i) std::printf(" %7.4f", static_cast<double>(row[i]));
  std::printf("\n");
}

}  // namespace

int main() {
  std::mt19937 engine(123);

  // "my name is Marcello Politi" as ids, and one row of the table for each.
  const std::vector<std::int64_t> ids{2, 6, 8, 3, 1};
  const std::vector<float> table = random_floats(engine, kVocabulary * kDim, 1.0f);
  std::vector<float> x(ids.size() * kDim);
  rapt::embedding_lookup({table.data(), {kVocabulary, kDim}}, ids, {x.data(), {kTokens, kDim}});

  // einsum('sd,hde->hse', x, w): a matrix [d, e] for every head h, as Linear::from_heads takes it.
  const std::vector<float> w_query = random_floats(engine, kHeads * kDim * kHeadDim, 0.5f);
  const std::vector<float> w_key = random_floats(engine, kHeads * kDim * kHeadDim, 0.5f);
  const std::vector<float> w_value = random_floats(engine, kHeads * kDim * kHeadDim, 0.5f);
  const auto per_head = [](const std::vector<float>& w) {
    return rapt::Linear::from_heads({w.data(), {kHeads, kDim, kHeadDim}});
  };
  const rapt::Linear query = per_head(w_query), key = per_head(w_key), value = per_head(w_value);

  // Queries, keys and values of all heads: [tokens, heads * 4], seen as [1, heads, tokens, 4].
  std::vector<float> q(x.size()), k(x.size()), v(x.size()), z(x.size());
  const rapt::TensorView<const float, 2> rows(x.data(), {kTokens, kDim});
  query.forward(rows, {q.data(), {kTokens, kDim}});
  key.forward(rows, {k.data(), {kTokens, kDim}});
  value.forward(rows, {v.data(), {kTokens, kDim}});
  const auto heads = [&](std::vector<float>& joined) {
    return rapt::TensorView<float, 4>(joined.data(), {1, kTokens, kHeads, kHeadDim}).swapped(1, 2);
  };

  // softmax(q k^T / sqrt(d_k)) v for every head. The heads write side by side: z is concatenated.
  std::vector<float> a(static_cast<std::size_t>(kHeads * kTokens * kTokens));
  rapt::AttentionOptions options;
  options.weights = {a.data(), {1, kHeads, kTokens, kTokens}};
  rapt::attention(heads(q), heads(k), heads(v), heads(z), options);

  // z1 = a11 v1 + a12 v2 + ... + a15 v5, by hand for the first head.
  float z1[kHeadDim] = {};
  for (std::int64_t j = 0; j < kTokens; ++j) {
    for (std::int64_t e = 0; e < kHeadDim; ++e) z1[e] += a[j] * heads(v)(0, 0, j, e);
  }
  print_row("attention of word 1, head 1", a.data(), kTokens);
  print_row("z1 = a11 v1 + ... + a15 v5", z1, kHeadDim);
  print_row("z1 from rapt::attention", z.data(), kHeadDim);

  // y = z w_output. A Linear takes [out, in]; w_output is [in, out], so its view is transposed.
  const std::vector<float> w_output = random_floats(engine, kDim * kDim, 0.5f);
  const rapt::TensorView<const float, 2> in_out(w_output.data(), {kDim, kDim});
  const rapt::Linear output(in_out.swapped(0, 1));
  std::vector<float> y(x.size());
  output.forward({z.data(), {kTokens, kDim}}, {y.data(), {kTokens, kDim}});
  print_row("word 1 after w_output", y.data(), kDim);

  // All of it as one layer: the same bits.
  const rapt::MultiHeadAttention layer({.model_dim = kDim, .num_heads = kHeads},
                                       {query, key, value, output});
  std::vector<float> from_layer(x.size());
  layer.forward({x.data(), {1, kTokens, kDim}}, {from_layer.data(), {1, kTokens, kDim}});
  const bool same = std::memcmp(from_layer.data(), y.data(), y.size() * sizeof(float)) == 0;
  std::printf("the layer gives the same bits: %s\n", same ? "yes" : "no");
  return same ? 0 : 1;
}
