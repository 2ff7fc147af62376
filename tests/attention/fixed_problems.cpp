#include "attention/fixed_problems.hpp"

#include "core/random.hpp"
#include "dispatch/dispatch.hpp"
#include "rapt/attention.hpp"
#include "rapt/linear.hpp"
#include "rapt/multi_head_attention.hpp"
#include "reference/scalar.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

namespace rapt::test {
namespace {

std::vector<float> normals(std::int64_t count, Random& random, float scale = 1.0f) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = random.normal() * scale;
  return values;
}

template <int Rank>
TensorView<const float, Rank> view(const std::vector<float>& values,
                                   const std::array<std::int64_t, std::size_t{Rank}>& shape) {
  return {values.data(), shape};
}

// --- exp2

std::vector<float> solve_exp2(const Engine& engine) {
  // 2^16 points over [-128, 0], including the border below which exp2 is 0, and -inf.
  std::vector<float> x(std::size_t{1} << 16);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = -static_cast<float>(i) * 0x1.00013p-9f;
  x.back() = -std::numeric_limits<float>::infinity();
  std::vector<float> y(x.size());
  if (engine.statement) {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = reference::exp2(x[i]);
  } else {
    dispatch::kernels_of(engine.isa).exp2(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
  }
  return y;
}

// --- linear

/// A projection in both forms: for the scalar statement, and packed.
struct Projection {
  Projection(std::int64_t in, std::int64_t out, bool with_bias, Random& random)
      : in_features(in),
        out_features(out),
        weight(normals(in * out, random, 0.125f)),
        bias(normals(with_bias ? out : 0, random)),
        packed(view<2>(weight, {out, in}), bias) {}

  std::vector<float> apply(const Engine& engine, const std::vector<float>& x) const {
    const auto rows = static_cast<std::int64_t>(x.size()) / in_features;
    std::vector<float> y(static_cast<std::size_t>(rows * out_features));
    const TensorView<float, 2> result(y.data(), {rows, out_features});
    if (engine.statement) {
      reference::linear(view<2>(x, {rows, in_features}),
                        view<2>(weight, {out_features, in_features}), bias, result);
    } else {
      packed.forward(view<2>(x, {rows, in_features}), result);
    }
    return y;
  }

  std::int64_t in_features, out_features;
  std::vector<float> weight, bias;
  Linear packed;
};

struct LinearCase {
  const char* name;
  std::int64_t rows, in, out;
  bool with_bias;
};

constexpr LinearCase kLinearCases[] = {
    {"linear.one", 1, 1, 1, true},
    {"linear.row", 1, 700, 129, false},
    {"linear.depth_block", 7, 512, 64, true},
    {"linear.depth_block_and_one", 7, 513, 33, true},
    {"linear.three_depth_blocks", 33, 1030, 50, false},
};

std::vector<float> solve_linear(const LinearCase& problem, const Engine& engine) {
  Random random(hash_text(problem.name));
  const Projection projection(problem.in, problem.out, problem.with_bias, random);
  return projection.apply(engine, normals(problem.rows * problem.in, random));
}

// --- attention

enum Extra : unsigned {
  kPlain = 0,
  kBias = 1,
  kKeep = 2,
  kDrop = 4,
  kKvLens = 8,
  kAllOutputs = 16,  ///< lse and weights too
  kNanKey = 32,
  kPeaked = 64,  ///< scores far apart: most weights are 0
  kCallback = 128,
  kWeightSums = 256,
  kStates = 512,     ///< continues from a state and writes one
  kRopeHalf = 1024,  ///< over about three quarters of the head_dim
  kRopeInterleaved = 2048,
  kQkNorm = 4096,  ///< with weights
};

struct AttentionCase {
  const char* name;
  std::int64_t batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim;
  Mask mask{};
  unsigned extra = kPlain;
  std::optional<float> softmax_scale{}, soft_cap{};
  std::optional<float> alibi_slope{};  ///< of head 0; half as steep for each further head
  std::optional<float> sink{};         ///< of head 0; half as much more for each further head
};

/// A score callback that depends on the score and on the distance of query and key.
void bend_scores(const ScoreTile& tile) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    for (std::int64_t c = 0; c < tile.columns; ++c) {
      float& s = tile.scores[r * tile.row_stride + c];
      const std::int64_t ahead = tile.first_key + c - tile.first_position - r;
      s = ahead % 7 == 3 ? -s : s * 0.75f + 0.0625f * static_cast<float>(ahead % 16 + tile.head);
    }
  }
}

const AttentionCase kAttentionCases[] = {
    {"attention.one_key", 1, 1, 1, 1, 1, 1, 1, {}, kAllOutputs},
    {"attention.one_row", 1, 2, 2, 1, 300, 64, 64},
    {"attention.keys_255", 1, 2, 2, 5, 255, 33, 33, {}, kAllOutputs},
    {"attention.keys_256", 1, 2, 2, 5, 256, 33, 33, {}, kAllOutputs},
    {"attention.keys_257", 1, 2, 2, 5, 257, 33, 33, {}, kAllOutputs},
    {"attention.many_blocks", 1, 1, 1, 3, 2500, 64, 64, {}, kAllOutputs},
    {"attention.batch", 2, 3, 3, 67, 67, 32, 32},
    {"attention.head_dim_128", 1, 1, 1, 20, 520, 128, 128, causal_bottom_right()},
    {"attention.odd_dims", 1, 2, 1, 19, 77, 37, 5},
    {"attention.wide_values", 1, 2, 2, 17, 300, 24, 200},
    {"attention.causal", 1, 1, 1, 130, 130, 64, 64, causal()},
    {"attention.causal_offset", 1, 2, 2, 21, 300, 40, 40, causal(200), kAllOutputs},
    {"attention.causal_first_rows_empty", 1, 1, 1, 20, 20, 16, 16, causal(-7), kAllOutputs},
    {"attention.causal_more_queries", 1, 2, 2, 90, 40, 32, 32, causal_bottom_right(), kAllOutputs},
    {"attention.gqa", 2, 6, 2, 11, 270, 32, 32, causal_bottom_right()},
    {"attention.mqa", 1, 5, 1, 7, 513, 80, 80},
    {"attention.decode", 2, 8, 2, 1, 700, 64, 64, causal_bottom_right(), kKvLens},
    {"attention.bias", 1, 2, 2, 13, 300, 32, 32, {}, kBias | kAllOutputs},
    {"attention.bias_causal_kv_lens", 2, 4, 2, 23, 280, 32, 32, causal_bottom_right(),
     kBias | kKvLens | kAllOutputs},
    {"attention.keep", 1, 2, 1, 13, 300, 32, 32, {}, kKeep | kAllOutputs},
    {"attention.drop_bias_causal", 1, 4, 2, 14, 290, 24, 24, causal(270), kDrop | kBias},
    {"attention.nan_key", 1, 2, 2, 40, 300, 16, 16, causal(140), kNanKey | kKeep | kAllOutputs},
    {"attention.scale_zero", 1, 1, 1, 4, 270, 16, 16, {}, kAllOutputs, 0.0f},
    {"attention.peaked", 1, 2, 2, 9, 530, 64, 64, {}, kPeaked | kAllOutputs, 1.0f},
    {"attention.window", 1, 2, 1, 300, 300, 32, 32, causal().windowed(127, 0), kAllOutputs},
    {"attention.window_both_sides", 2, 2, 2, 90, 530, 20, 20,
     Mask{.query_offset = 200}.windowed(100, 50), kKeep | kAllOutputs},
    {"attention.soft_cap", 1, 2, 1, 13, 300, 48, 48, causal_bottom_right(), kPeaked | kAllOutputs,
     1.0f, 30.0f},
    {"attention.alibi", 1, 6, 2, 30, 300, 24, 24, causal_bottom_right(), kAllOutputs, {}, {}, 0.5f},
    {"attention.sinks", 2, 4, 2, 20, 290, 24, 24, causal(-7), kAllOutputs, {}, {}, {}, 0.25f},
    {"attention.all_options", 2, 4, 2, 40, 600, 40, 72,
     causal_bottom_right().windowed(300, kNoWindow), kBias | kKvLens | kKeep | kAllOutputs, 0.5f,
     20.0f, 0.125f, 1.0f},
    {"attention.score_callback", 2, 4, 2, 20, 290, 24, 24, causal_bottom_right(),
     kBias | kCallback | kAllOutputs},
    {"attention.weight_sums", 1, 4, 2, 33, 290, 24, 24, causal_bottom_right(), kWeightSums},
    {"attention.states", 2, 2, 1, 9, 300, 24, 24, causal_bottom_right(), kStates | kAllOutputs},
    {"attention.rope_half", 1, 4, 2, 30, 300, 64, 64, causal_bottom_right(),
     kRopeHalf | kAllOutputs},
    {"attention.rope_interleaved", 2, 2, 1, 20, 290, 40, 40, causal(7), kRopeInterleaved | kKvLens},
    {"attention.qk_norm_rope", 1, 4, 2, 25, 300, 72, 24, causal_bottom_right(),
     kQkNorm | kRopeHalf | kAllOutputs},
    {"attention.prefix", 1, 4, 2, 300, 300, 24, 24, causal().with_prefix(70), kAllOutputs},
    {"attention.prefix_window", 1, 4, 2, 300, 300, 24, 24,
     causal().windowed(60, kNoWindow).with_prefix(270), kAllOutputs},
    {"attention.prefix_window_right", 1, 4, 2, 300, 300, 24, 24,
     causal().windowed(60, 30).with_prefix(270), kAllOutputs},
};

/// The memory of one case.
struct AttentionData {
  explicit AttentionData(const AttentionCase& problem) {
    const auto& p = problem;
    Random random(hash_text(p.name));
    q = normals(p.batch * p.heads * p.q_len * p.head_dim, random, p.extra & kPeaked ? 16.0f : 1.0f);
    k = normals(p.batch * p.kv_heads * p.kv_len * p.head_dim, random);
    v = normals(p.batch * p.kv_heads * p.kv_len * p.value_dim, random);
    if (p.extra & kNanKey) {
      k[static_cast<std::size_t>((p.kv_len / 2) * p.head_dim)] =
          std::numeric_limits<float>::quiet_NaN();
    }
    const auto scores = static_cast<std::size_t>(p.batch * p.heads * p.q_len * p.kv_len);
    if (p.extra & kBias) {
      bias = normals(static_cast<std::int64_t>(scores), random);
      for (std::size_t i = 5; i < scores; i += 11) {
        bias[i] = -std::numeric_limits<float>::infinity();
      }
    }
    mask = std::make_unique<bool[]>(scores);
    for (std::size_t i = 0; i < scores; ++i) mask[i] = random.below(3) != 0;
    for (std::int64_t b = 0; b < p.batch; ++b) kv_lens.push_back(p.kv_len - 37 * b);
    for (int h = 0; h < p.heads; ++h) {
      if (p.alibi_slope) alibi_slopes.push_back(std::ldexp(*p.alibi_slope, -h));
      if (p.sink) sinks.push_back(*p.sink + 0.5f * static_cast<float>(h));
    }
    if (p.extra & kQkNorm) q_weight = normals(p.head_dim, random);
    if (p.extra & kQkNorm) k_weight = normals(p.head_dim, random);
  }

  std::vector<float> q, k, v, bias, alibi_slopes, sinks, q_weight, k_weight;
  std::unique_ptr<bool[]> mask;
  std::vector<std::int64_t> kv_lens;
};

std::vector<float> solve_attention(const AttentionCase& problem, const Engine& engine) {
  const auto& p = problem;
  const AttentionData data(p);
  const TensorView<float, 4>::Index scores{p.batch, p.heads, p.q_len, p.kv_len};
  const std::int64_t rows = p.batch * p.heads * p.q_len;
  const std::int64_t out_size = rows * p.value_dim;
  const bool all = (p.extra & kAllOutputs) != 0;
  const std::int64_t sums = (p.extra & kWeightSums) != 0 ? p.batch * p.heads * p.kv_len : 0;
  const std::int64_t states = (p.extra & kStates) != 0 ? 2 * rows + out_size : 0;
  const std::int64_t whole = out_size + (all ? rows + rows * p.kv_len : 0);
  std::vector<float> outputs(static_cast<std::size_t>(whole + sums + states));

  AttentionOptions options{.mask = p.mask,
                           .soft_cap = p.soft_cap,
                           .alibi_slopes = data.alibi_slopes,
                           .sinks = data.sinks,
                           .softmax_scale = p.softmax_scale};
  if (p.extra & kCallback) options.score_callback = bend_scores;
  if (p.extra & kBias) options.bias = {data.bias.data(), scores};
  if (p.extra & kKvLens) options.kv_lens = data.kv_lens;
  if (p.extra & kKeep) options.bool_mask = {{data.mask.get(), scores}, MaskMeaning::keep};
  if (p.extra & kDrop) options.bool_mask = {{data.mask.get(), scores}, MaskMeaning::drop};
  if (all) {
    options.lse = {outputs.data() + out_size, {p.batch, p.heads, p.q_len}};
    options.weights = {outputs.data() + out_size + rows, scores};
  }
  if (sums > 0) options.weight_sums = {outputs.data() + whole, {p.batch, p.heads, p.kv_len}};
  Random random(hash_text(p.name) + 1);
  std::vector<float> earlier = normals(states, random);
  if (states > 0) {
    std::fill_n(earlier.begin() + rows, rows, 2.0f);  // l
    const auto state_at = [&](float* first) {
      const TensorView<float, 3>::Index by_row{p.batch, p.heads, p.q_len};
      return AttentionState<float>({first, by_row}, {first + rows, by_row},
                                   {first + 2 * rows, {p.batch, p.heads, p.q_len, p.value_dim}});
    };
    options.state_in = state_at(earlier.data());
    options.state_out = state_at(outputs.data() + whole + sums);
  }
  const RopeTable table(p.extra & kRopeHalf ? Rope::half : Rope::interleaved,
                        {.rotary_dims = p.head_dim * 3 / 8 * 2 + 2, .positions = 3000});
  if (p.extra & (kRopeHalf | kRopeInterleaved)) options.rope.table = table;
  if (p.extra & kQkNorm) options.qk_norm = {.q_weight = data.q_weight, .k_weight = data.k_weight};
  auto* const attend = engine.statement ? &reference::attention : &attention;
  attend(view<4>(data.q, {p.batch, p.heads, p.q_len, p.head_dim}),
         view<4>(data.k, {p.batch, p.kv_heads, p.kv_len, p.head_dim}),
         view<4>(data.v, {p.batch, p.kv_heads, p.kv_len, p.value_dim}),
         TensorView<float, 4>(outputs.data(), {p.batch, p.heads, p.q_len, p.value_dim}), options);
  return outputs;
}

// --- the layer

struct LayerCase {
  const char* name;
  std::int64_t batch, tokens, context_tokens;  ///< context_tokens = 0: self-attention
  std::int64_t model_dim, heads, kv_heads, head_dim, value_dim;
  bool output_projection;
  Mask mask{};
};

const LayerCase kLayerCases[] = {
    {"layer.self", 1, 6, 0, 16, 1, 1, 16, 16, false},
    {"layer.causal_gqa", 2, 37, 0, 96, 6, 2, 16, 16, true, causal()},
    {"layer.cross", 2, 9, 300, 48, 4, 4, 12, 20, true},
};

/// [batch, tokens, heads * dim] as [batch, heads, tokens, dim].
template <class T>
TensorView<T, 4> by_head(T* values, std::int64_t batch, std::int64_t tokens, std::int64_t heads,
                         std::int64_t dim) {
  return TensorView<T, 4>(values, {batch, tokens, heads, dim}).swapped(1, 2);
}

std::vector<float> solve_layer(const LayerCase& problem, const Engine& engine) {
  const auto& p = problem;
  Random random(hash_text(p.name));
  const std::int64_t kv_tokens = p.context_tokens == 0 ? p.tokens : p.context_tokens;
  const std::int64_t joined = p.heads * p.value_dim;
  const Projection query(p.model_dim, p.heads * p.head_dim, true, random);
  const Projection key(p.model_dim, p.kv_heads * p.head_dim, false, random);
  const Projection value(p.model_dim, p.kv_heads * p.value_dim, true, random);
  const Projection output(joined, p.model_dim, true, random);
  const std::vector<float> x = normals(p.batch * p.tokens * p.model_dim, random);
  const std::vector<float> context =
      p.context_tokens == 0 ? x : normals(p.batch * kv_tokens * p.model_dim, random);

  if (engine.statement) {
    const std::vector<float> q = query.apply(engine, x);
    const std::vector<float> k = key.apply(engine, context);
    const std::vector<float> v = value.apply(engine, context);
    std::vector<float> attended(static_cast<std::size_t>(p.batch * p.tokens * joined));
    reference::attention(by_head(q.data(), p.batch, p.tokens, p.heads, p.head_dim),
                         by_head(k.data(), p.batch, kv_tokens, p.kv_heads, p.head_dim),
                         by_head(v.data(), p.batch, kv_tokens, p.kv_heads, p.value_dim),
                         by_head(attended.data(), p.batch, p.tokens, p.heads, p.value_dim),
                         {.mask = p.mask});
    return p.output_projection ? output.apply(engine, attended) : attended;
  }

  const MultiHeadAttention layer({.model_dim = p.model_dim,
                                  .num_heads = p.heads,
                                  .num_kv_heads = p.kv_heads,
                                  .head_dim = p.head_dim,
                                  .value_dim = p.value_dim},
                                 {.query = query.packed,
                                  .key = key.packed,
                                  .value = value.packed,
                                  .output = p.output_projection ? output.packed : Linear()});
  const std::int64_t features = p.output_projection ? p.model_dim : joined;
  std::vector<float> y(static_cast<std::size_t>(p.batch * p.tokens * features));
  const TensorView<float, 3> result(y.data(), {p.batch, p.tokens, features});
  const auto tokens = view<3>(x, {p.batch, p.tokens, p.model_dim});
  if (p.context_tokens == 0) {
    layer.forward(tokens, result, {.mask = p.mask});
  } else {
    layer.forward(tokens, view<3>(context, {p.batch, kv_tokens, p.model_dim}), result,
                  {.mask = p.mask});
  }
  return y;
}

}  // namespace

std::vector<FixedProblem> fixed_problems() {
  std::vector<FixedProblem> list{{"exp2", solve_exp2}};
  for (const LinearCase& problem : kLinearCases) {
    list.push_back(
        {problem.name, [&problem](const Engine& e) { return solve_linear(problem, e); }});
  }
  for (const AttentionCase& problem : kAttentionCases) {
    list.push_back(
        {problem.name, [&problem](const Engine& e) { return solve_attention(problem, e); }});
  }
  for (const LayerCase& problem : kLayerCases) {
    list.push_back({problem.name, [&problem](const Engine& e) { return solve_layer(problem, e); }});
  }
  for (FixedProblem& problem : fixed_row_problems()) list.push_back(std::move(problem));
  for (FixedProblem& problem : fixed_type_problems()) list.push_back(std::move(problem));
  for (FixedProblem& problem : fixed_projection_problems()) list.push_back(std::move(problem));
  return list;
}

}  // namespace rapt::test
