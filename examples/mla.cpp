// Multi-head latent attention (MLA): a cache of one short vector per token instead of all heads'
// keys and values, and the projections of the heads absorbed into queries and outputs.
//
//   c_t = norm(Wc x_t)               the latent of token t, kRank floats, for all heads
//   r_t = rope(Wr x_t)               its key's rotated part, kRope floats, for all heads
//   head h, expanded:  k_t = [Uk_h c_t; r_t],  v_t = Uv_h c_t,  out = sum_t a_t v_t
//   head h, absorbed:  <q, Uk_h c_t> = <Uk_h^T q, c_t>  and  sum_t a_t Uv_h c_t = Uv_h sum_t a_t
//   c_t
//
// Absorbed, attention has one kv head: keys [c_t; r_t] and values c_t, in the same memory, so that
// head_dim = kRank + kRope and value_dim = kRank.
// Source: DeepSeek-AI, "DeepSeek-V2", 2024, section 2.1 and appendix C.
#include "rapt/rapt.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

namespace {

constexpr std::int64_t kTokens = 300, kModel = 96, kHeads = 8;
constexpr std::int64_t kRank = 64, kPlain = 24, kRope = 16, kValue = 20;
constexpr std::int64_t kExpanded = kPlain + kRope, kAbsorbed = kRank + kRope;

using Matrix = rapt::TensorView<float, 2>;

/// [kTokens, heads, width]
struct Rows {
  Rows(std::int64_t heads_, std::int64_t width_)
      : heads(heads_), width(width_), floats(static_cast<std::size_t>(kTokens * heads_ * width_)) {}

  /// Columns [begin, begin + count) of a head, token by token.
  Matrix columns(std::int64_t head, std::int64_t begin, std::int64_t count) {
    return {floats.data() + head * width + begin, {kTokens, count}, {heads * width, 1}};
  }
  /// The same columns of all heads, as attention() takes them.
  rapt::TensorView<float, 4> tensor(std::int64_t begin, std::int64_t count) {
    return {floats.data() + begin,
            {1, heads, kTokens, count},
            {kTokens * heads * width, width, heads * width, 1}};
  }
  /// One token: packed queries [1, heads, width], or, with one head, a cache's [kv_heads, 1,
  /// width].
  rapt::TensorView<float, 3> token(std::int64_t t) {
    return {floats.data() + t * heads * width, {1, heads, width}};
  }

  std::int64_t heads, width;
  std::vector<float> floats;
};

/// Untrained weights [out, in] of variance 1 / in.
std::vector<float> weights(std::mt19937& engine, std::int64_t out, std::int64_t in) {
  std::vector<float> values(static_cast<std::size_t>(out * in));
  const float bound = std::sqrt(3.0f / static_cast<float>(in));
  for (float& value : values) value = (static_cast<float>(engine() >> 8) * 0x1p-23f - 1) * bound;
  return values;
}

/// y = x W^T
void multiply(const std::vector<float>& w, std::int64_t out, std::int64_t in, Matrix x, Matrix y) {
  rapt::Linear(rapt::TensorView<const float, 2>(w.data(), {out, in})).forward(x, y);
}

/// y = x W
void multiply_transposed(const std::vector<float>& w, std::int64_t in, std::int64_t out, Matrix x,
                         Matrix y) {
  rapt::Linear(rapt::TensorView<const float, 2>(w.data(), {in, out}).swapped(0, 1)).forward(x, y);
}

void copy(Matrix from, Matrix to) {
  for (std::int64_t t = 0; t < kTokens; ++t) {
    std::copy_n(&from(t, 0), from.shape[1], &to(t, 0));
  }
}

/// sum_i |x_i y_i|
double size_of(const float* x, const float* y, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += std::abs(double{x[i]} * double{y[i]});
  return sum;
}

struct Layer {
  std::vector<float> query, latent, key_rope, input;
  std::vector<std::vector<float>> up_key, up_value;  // of each head
};

Layer make_layer(std::mt19937& engine) {
  Layer layer{weights(engine, kHeads * kExpanded, kModel),
              weights(engine, kRank, kModel),
              weights(engine, kRope, kModel),
              weights(engine, kTokens * kModel, 3),
              {},
              {}};
  for (std::int64_t h = 0; h < kHeads; ++h) {
    layer.up_key.push_back(weights(engine, kPlain, kRank));
    layer.up_value.push_back(weights(engine, kValue, kRank));
  }
  return layer;
}

/// The difference between two orders of the same sums, to first order in u = 2^-24: a score is a
/// sum of kPlain x kRank + kRope products in n roundings, at most S in size, so each form is off by
/// at most n u S; that changes an output, a mean of values of size V, by at most 2 n u S V, plus
/// kRank + kTokens + 8 roundings of the mean and its products.
double bound_of(const Layer& layer, Rows& q, Rows& keys) {
  double s = 0, v = 0;
  for (std::int64_t h = 0; h < kHeads; ++h) {
    const auto head = static_cast<std::size_t>(h);
    for (std::int64_t j = 0; j < kTokens; ++j) {
      const float* c = &keys.columns(0, 0, kRank)(j, 0);
      std::vector<float> key(kPlain);  // |Uk| |c|
      for (std::int64_t d = 0; d < kPlain; ++d) {
        key[static_cast<std::size_t>(d)] =
            static_cast<float>(size_of(layer.up_key[head].data() + d * kRank, c, kRank));
      }
      for (std::int64_t i = j; i < kTokens; ++i) {
        const float* row = &q.columns(h, 0, kExpanded)(i, 0);
        s = std::max(s, size_of(row, key.data(), kPlain) + size_of(row + kPlain, c + kRank, kRope));
      }
      for (std::int64_t d = 0; d < kValue; ++d) {
        v = std::max(v, size_of(layer.up_value[head].data() + d * kRank, c, kRank));
      }
    }
  }
  s /= std::sqrt(static_cast<double>(kExpanded));
  const double n = kPlain + kRank + kRope + 4;
  return 2 * 0x1p-24 * (2 * n * s + kRank + kTokens + 8) * v;
}

/// Prints the results; returns 0 if absorbed and expanded agree within the bound and decoding gives
/// the same bits.
int report(const Rows& absorbed, const Rows& expanded, double bound, const Rows& decoded,
           const Rows& context) {
  double difference = 0;
  for (std::size_t i = 0; i < absorbed.floats.size(); ++i) {
    difference =
        std::max(difference, std::abs(double{absorbed.floats[i]} - double{expanded.floats[i]}));
  }
  const bool same = std::memcmp(decoded.floats.data(), context.floats.data(),
                                context.floats.size() * sizeof(float)) == 0;
  std::printf("floats of a token: %d expanded, %d absorbed, %d in a KvCache, which packs c twice\n",
              static_cast<int>(kHeads * (kExpanded + kValue)), static_cast<int>(kAbsorbed),
              static_cast<int>(kAbsorbed + kRank));
  std::printf("absorbed against expanded: at most %.2g apart, bound %.2g\n", difference, bound);
  std::printf("decoded token by token: %s\n", same ? "the same bits" : "other bits");
  return difference <= bound && same ? 0 : 1;
}

}  // namespace

int main() {
  std::mt19937 engine(2024);
  Layer layer = make_layer(engine);
  const Matrix x(layer.input.data(), {kTokens, kModel});
  const rapt::RopeTable table(rapt::Rope::interleaved,
                              {.rotary_dims = kRope, .positions = kTokens});
  rapt::AttentionOptions options{.mask = rapt::causal()};
  options.softmax_scale = 1.0f / std::sqrt(static_cast<float>(kExpanded));

  // Both forms start from the queries [kPlain; kRope] and the keys [c; r].
  Rows q(kHeads, kExpanded), keys(1, kAbsorbed);
  multiply(layer.query, kHeads * kExpanded, kModel, x,
           {q.floats.data(), {kTokens, kHeads * kExpanded}});
  multiply(layer.latent, kRank, kModel, x, keys.columns(0, 0, kRank));
  multiply(layer.key_rope, kRope, kModel, x, keys.columns(0, kRank, kRope));
  rapt::rms_norm(keys.tensor(0, kRank), keys.tensor(0, kRank));
  rapt::apply_rope(q.tensor(kPlain, kRope), q.tensor(kPlain, kRope), table);
  rapt::apply_rope(keys.tensor(kRank, kRope), keys.tensor(kRank, kRope), table);

  // Expanded: every head has its own keys and values.
  Rows k(kHeads, kExpanded), v(kHeads, kValue), expanded(kHeads, kValue);
  for (std::int64_t h = 0; h < kHeads; ++h) {
    const auto head = static_cast<std::size_t>(h);
    multiply(layer.up_key[head], kPlain, kRank, keys.columns(0, 0, kRank), k.columns(h, 0, kPlain));
    multiply(layer.up_value[head], kValue, kRank, keys.columns(0, 0, kRank),
             v.columns(h, 0, kValue));
    copy(keys.columns(0, kRank, kRope), k.columns(h, kPlain, kRope));
  }
  rapt::attention(q.tensor(0, kExpanded), k.tensor(0, kExpanded), v.tensor(0, kValue),
                  expanded.tensor(0, kValue), options);

  // Absorbed: all heads share the latents, which are keys and values at once.
  Rows q_latent(kHeads, kAbsorbed), context(kHeads, kRank), absorbed(kHeads, kValue);
  for (std::int64_t h = 0; h < kHeads; ++h) {
    multiply_transposed(layer.up_key[static_cast<std::size_t>(h)], kPlain, kRank,
                        q.columns(h, 0, kPlain), q_latent.columns(h, 0, kRank));
    copy(q.columns(h, kPlain, kRope), q_latent.columns(h, kRank, kRope));
  }
  rapt::attention(q_latent.tensor(0, kAbsorbed), keys.tensor(0, kAbsorbed), keys.tensor(0, kRank),
                  context.tensor(0, kRank), options);
  for (std::int64_t h = 0; h < kHeads; ++h) {
    multiply(layer.up_value[static_cast<std::size_t>(h)], kValue, kRank,
             context.columns(h, 0, kRank), absorbed.columns(h, 0, kValue));
  }

  // Decoded: the latents in a cache, token by token.
  Rows decoded(kHeads, kRank);
  rapt::KvCache cache({.kv_heads = 1, .head_dim = kAbsorbed, .value_dim = kRank});
  const std::int64_t sequence = cache.add();
  for (std::int64_t t = 0; t < kTokens; ++t) {
    cache.append(sequence, keys.token(t), keys.token(t).sliced(2, 0, kRank));
    rapt::attention(q_latent.token(t), cache, sequence, decoded.token(t), options);
  }

  return report(absorbed, expanded, bound_of(layer, q, keys), decoded, context);
}
