// The layer: four matrix products around one call of attention(). Heads are views: the projections
// write [tokens, heads * e], and attention reads [heads, tokens, e] from there by strides, without
// a copy.
#include "rapt/multi_head_attention.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "core/aligned_buffer.hpp"
#include "core/views.hpp"
#include "driver/score_callback.hpp"

namespace rapt {
namespace {

using core::check_disjoint;
using core::check_extent;
using core::fail;
using core::memory_range;
using core::MemoryRange;

bool is_empty(const Linear& projection) { return projection.out_features() == 0; }

void check_positive(const char* field, std::int64_t value) {
  if (value < 1)
    fail(std::string("config.") + field + ": " + std::to_string(value) + " is below 1");
}

void fill(std::int64_t& field, std::int64_t value) {
  if (field == 0) field = value;
}

/// The number of features of `count` heads side by side.
std::int64_t joined(const char* field, std::int64_t count, std::int64_t width) {
  std::int64_t features = 0;
  if (__builtin_mul_overflow(count, width, &features)) {
    fail(std::string("config.") + field + ": " + std::to_string(count) + " heads of " +
         std::to_string(width) + " are more features than can be counted");
  }
  return features;
}

MultiHeadAttentionConfig with_defaults(MultiHeadAttentionConfig config, bool has_output) {
  check_positive("model_dim", config.model_dim);
  check_positive("num_heads", config.num_heads);
  fill(config.num_kv_heads, config.num_heads);
  check_positive("num_kv_heads", config.num_kv_heads);
  if (config.num_heads % config.num_kv_heads != 0) {
    fail("config.num_kv_heads: " + std::to_string(config.num_kv_heads) +
         " does not divide num_heads " + std::to_string(config.num_heads));
  }
  if (config.head_dim == 0 && config.model_dim % config.num_heads != 0) {
    fail("config.head_dim: not given, and model_dim " + std::to_string(config.model_dim) +
         " is not a multiple of num_heads " + std::to_string(config.num_heads));
  }
  fill(config.head_dim, config.model_dim / config.num_heads);
  check_positive("head_dim", config.head_dim);
  fill(config.value_dim, config.head_dim);
  check_positive("value_dim", config.value_dim);
  fill(config.kv_model_dim, config.model_dim);
  check_positive("kv_model_dim", config.kv_model_dim);
  const std::int64_t joined_values = joined("value_dim", config.num_heads, config.value_dim);
  fill(config.output_dim, has_output ? config.model_dim : joined_values);
  check_positive("output_dim", config.output_dim);
  if (!has_output) {
    check_extent("config.output_dim: without an output projection", config.output_dim,
                 "num_heads * value_dim", joined_values);
  }
  return config;
}

void check_projection(const char* name, const Linear& projection, const char* in_name,
                      std::int64_t in, const char* out_name, std::int64_t out) {
  const std::string argument = std::string("weights.") + name;
  if (is_empty(projection)) fail(argument + ": the projection is empty");
  check_extent((argument + ": in_features").c_str(), projection.in_features(), in_name, in);
  check_extent((argument + ": out_features").c_str(), projection.out_features(), out_name, out);
}

void check_weights(const MultiHeadAttentionConfig& c, const MultiHeadAttentionWeights& weights) {
  const std::int64_t values = joined("value_dim", c.num_heads, c.value_dim);
  check_projection("query", weights.query, "model_dim", c.model_dim, "num_heads * head_dim",
                   joined("head_dim", c.num_heads, c.head_dim));
  check_projection("key", weights.key, "kv_model_dim", c.kv_model_dim, "num_kv_heads * head_dim",
                   joined("head_dim", c.num_kv_heads, c.head_dim));
  check_projection("value", weights.value, "kv_model_dim", c.kv_model_dim,
                   "num_kv_heads * value_dim", joined("value_dim", c.num_kv_heads, c.value_dim));
  if (is_empty(weights.output)) return;
  check_projection("output", weights.output, "num_heads * value_dim", values, "output_dim",
                   c.output_dim);
}

/// Everything that the call writes must be apart from everything that it reads and from each other.
/// attention() sees neither x, context nor, with an output projection, y: so all of it is checked
/// here.
void check_overlaps(TensorView<const float, 3> x, TensorView<const float, 3> context,
                    TensorView<float, 3> y, const AttentionOptions& options) {
  struct Named {
    const char* name;
    MemoryRange range;
  };
  const QkNorm norm = options.qk_norm.value_or(QkNorm{});
  const Named outputs[] = {{"y", memory_range(y)},
                           {"lse", memory_range(options.lse)},
                           {"weights", memory_range(options.weights)},
                           {"weight_sums", memory_range(options.weight_sums)},
                           {"state_out: m", memory_range(options.state_out.m)},
                           {"state_out: l", memory_range(options.state_out.l)},
                           {"state_out: o", memory_range(options.state_out.o)}};
  const Named inputs[] = {{"x", memory_range(x)},
                          {"context", memory_range(context)},
                          {"bias", memory_range(options.bias)},
                          {"bool_mask", memory_range(options.bool_mask.values)},
                          {"kv_lens", memory_range(options.kv_lens)},
                          {"query_offsets", memory_range(options.mask.query_offsets)},
                          {"prefix_lens", memory_range(options.mask.prefix_lens)},
                          {"weights_rows", memory_range(options.weights_rows)},
                          {"state_in: m", memory_range(options.state_in.m)},
                          {"state_in: l", memory_range(options.state_in.l)},
                          {"state_in: o", memory_range(options.state_in.o)},
                          {"qk_norm.q_weight", memory_range(norm.q_weight)},
                          {"qk_norm.k_weight", memory_range(norm.k_weight)},
                          {"rope.table.cos", memory_range(options.rope.table.cos)},
                          {"rope.table.sin", memory_range(options.rope.table.sin)},
                          {"rope.q_positions", memory_range(options.rope.q_positions)},
                          {"rope.k_positions", memory_range(options.rope.k_positions)}};
  for (const Named& output : outputs) {
    for (const Named& input : inputs) {
      check_disjoint(output.name, output.range, input.name, input.range);
    }
  }
  for (const Named& output : std::span(outputs).subspan(1)) {
    check_disjoint(output.name, output.range, "y", outputs[0].range);
  }
}

void check_forward(const MultiHeadAttentionConfig& config, TensorView<const float, 3> x,
                   TensorView<const float, 3> context, TensorView<float, 3> y) {
  core::check_input("x", x);
  core::check_input("context", context);
  check_extent("x: features", x.shape[2], "the layer's model_dim", config.model_dim);
  check_extent("context: features", context.shape[2], "the layer's kv_model_dim",
               config.kv_model_dim);
  check_extent("context: batch", context.shape[0], "x's batch", x.shape[0]);
  check_extent("y: batch", y.shape[0], "x's batch", x.shape[0]);
  check_extent("y: tokens", y.shape[1], "x's tokens", x.shape[1]);
  check_extent("y: features", y.shape[2], "the layer's output_dim", config.output_dim);
  core::check_output("y", y);
}

/// Whether the rows of all sequences lie evenly spaced, as those of one matrix.
template <class T>
bool rows_are_even(const TensorView<T, 3>& view) {
  const auto [batch, tokens, features] = view.shape;
  return batch <= 1 || tokens <= 1 || view.strides[0] == tokens * view.strides[1];
}

/// [batch, tokens, features] with evenly spaced rows as [batch * tokens, features].
template <class T>
TensorView<T, 2> as_rows(const TensorView<T, 3>& view) {
  const std::int64_t row_stride = view.shape[1] == 1 ? view.strides[0] : view.strides[1];
  return {view.data, {view.shape[0] * view.shape[1], view.shape[2]}, {row_stride, 1}};
}

/// y = projection(x). A row's bits depend on no other row, so the sequences are multiplied as one
/// matrix wherever their rows lie evenly spaced.
void project(const Linear& projection, TensorView<const float, 3> x, TensorView<float, 3> y) {
  if (rows_are_even(x) && rows_are_even(y)) {
    projection.forward(as_rows(x), as_rows(y));
    return;
  }
  for (std::int64_t b = 0; b < x.shape[0]; ++b) {
    projection.forward(as_rows(x.sliced(0, b, 1)), as_rows(y.sliced(0, b, 1)));
  }
}

/// [batch, tokens, heads * width] as [batch, heads, tokens, width].
template <class T>
TensorView<T, 4> heads_of(TensorView<T, 3> view, std::int64_t heads, std::int64_t width) {
  return {view.data,
          {view.shape[0], heads, view.shape[1], width},
          {view.strides[0], width, view.strides[1], 1}};
}

/// Floats of a cache line.
constexpr std::int64_t kLine = 16;

/// The results of the projections, side by side in memory that each thread keeps for its next call;
/// each begins on a cache line.
class Workspace {
 public:
  /// Adds room for [batch and tokens of `like`, features] and returns where it begins.
  std::int64_t add(TensorView<const float, 3> like, std::int64_t features) {
    const std::int64_t begin = size_;
    std::int64_t count = 0;
    bool overflow = __builtin_mul_overflow(like.shape[0], like.shape[1], &count);
    overflow |= __builtin_mul_overflow(count, features, &count);
    overflow |= __builtin_add_overflow(count, kLine - 1, &count);
    overflow |= __builtin_add_overflow(size_, count / kLine * kLine, &size_);
    if (overflow) {
      throw Error(ErrorCode::out_of_memory, "workspace: no memory for " + std::to_string(features) +
                                                " features of " + std::to_string(like.shape[0]) +
                                                " sequences of " + std::to_string(like.shape[1]) +
                                                " tokens");
    }
    return begin;
  }

  /// The tensor that was added at `begin`, once all are added.
  TensorView<float, 3> at(std::int64_t begin, TensorView<const float, 3> like,
                          std::int64_t features) const {
    // One buffer is enough: while a thread waits in for_items() it starts no other forward().
    thread_local AlignedBuffer buffer;
    return {buffer.reserve(size_) + begin, {like.shape[0], like.shape[1], features}};
  }

 private:
  std::int64_t size_ = 0;
};

}  // namespace

MultiHeadAttention::MultiHeadAttention(const MultiHeadAttentionConfig& config,
                                       MultiHeadAttentionWeights weights)
    : config_(with_defaults(config, !is_empty(weights.output))), weights_(std::move(weights)) {
  check_weights(config_, weights_);
}

void MultiHeadAttention::forward(TensorView<const float, 3> x, TensorView<float, 3> y,
                                 const AttentionOptions& options) const {
  if (config_.kv_model_dim != config_.model_dim) {
    fail("context: the layer's kv_model_dim " + std::to_string(config_.kv_model_dim) +
         " does not match model_dim " + std::to_string(config_.model_dim) +
         ", which self-attention needs");
  }
  forward(x, x, y, options);
}

void MultiHeadAttention::forward(TensorView<const float, 3> x, TensorView<const float, 3> context,
                                 TensorView<float, 3> y, const AttentionOptions& options) const {
  check_forward(config_, x, context, y);
  refuse_inside_callback();
  check_overlaps(x, context, y, options);
  const MultiHeadAttentionConfig& c = config_;
  const std::int64_t query_features = c.num_heads * c.head_dim;
  const std::int64_t key_features = c.num_kv_heads * c.head_dim;
  const std::int64_t value_features = c.num_kv_heads * c.value_dim;
  const std::int64_t joined_features = c.num_heads * c.value_dim;
  const bool has_output = !is_empty(weights_.output);

  Workspace workspace;
  const std::int64_t q_begin = workspace.add(x, query_features);
  const std::int64_t k_begin = workspace.add(context, key_features);
  const std::int64_t v_begin = workspace.add(context, value_features);
  const std::int64_t z_begin = has_output ? workspace.add(x, joined_features) : 0;
  const TensorView<float, 3> q = workspace.at(q_begin, x, query_features);
  const TensorView<float, 3> k = workspace.at(k_begin, context, key_features);
  const TensorView<float, 3> v = workspace.at(v_begin, context, value_features);
  const TensorView<float, 3> z = has_output ? workspace.at(z_begin, x, joined_features) : y;

  project(weights_.query, x, q);
  project(weights_.key, context, k);
  project(weights_.value, context, v);
  AttentionOptions with_scale = options;
  if (!with_scale.softmax_scale) with_scale.softmax_scale = c.softmax_scale;
  attention(heads_of<const float>(q, c.num_heads, c.head_dim),
            heads_of<const float>(k, c.num_kv_heads, c.head_dim),
            heads_of<const float>(v, c.num_kv_heads, c.value_dim),
            heads_of(z, c.num_heads, c.value_dim), with_scale);
  if (has_output) project(weights_.output, z, y);
}

}  // namespace rapt
