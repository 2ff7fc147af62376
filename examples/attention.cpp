// Causal attention with grouped heads: 8 query heads share 2 key/value heads.
#include "rapt/rapt.hpp"

#include <cstdio>
#include <vector>

int main() {
  const int batch = 1, heads = 8, kv_heads = 2, tokens = 16, head_dim = 64;
  std::vector<float> q(batch * heads * tokens * head_dim, 0.5f), out(q.size());
  std::vector<float> k(batch * kv_heads * tokens * head_dim, 0.25f), v(k.size());
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i / head_dim % tokens);

  rapt::attention({q.data(), {batch, heads, tokens, head_dim}},
                  {k.data(), {batch, kv_heads, tokens, head_dim}},
                  {v.data(), {batch, kv_heads, tokens, head_dim}},
                  {out.data(), {batch, heads, tokens, head_dim}}, {.mask = rapt::causal()});

  // All keys are alike, so token t gets the mean of the values 0, 1, ..., t: t / 2.
  for (const int t : {0, 1, 15}) {
    std::printf("token %2d: %.4f\n", t, static_cast<double>(out[t * head_dim]));
  }
}
