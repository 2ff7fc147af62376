#include "layer/layer_call.hpp"

#include "core/aligned_buffer.hpp"
#include "core/counted.hpp"
#include "core/out_of_memory.hpp"
#include "core/per_thread.hpp"
#include "core/views.hpp"
#include "layer/layer_config.hpp"
#include "rapt/error.hpp"

#include <string>

namespace rapt {
namespace {

using core::counted;
using core::fail;

/// Whether the rows of all sequences are evenly spaced, as those of one matrix.
template <class T>
bool rows_are_even(const TensorView<T, 3>& view) {
  const auto [batch, tokens, features] = view.shape;
  return batch <= 1 || tokens <= 1 || view.strides[0] == tokens * view.strides[1];
}

/// [batch, tokens, features] with evenly spaced rows as [batch * tokens, features].
template <class T>
TensorView<T, 2> as_rows(const TensorView<T, 3>& view) {
  const std::int64_t row_stride = view.shape[1] == 1 ? view.strides[0] : view.strides[1];
  return {view.data, view.dtype, {view.shape[0] * view.shape[1], view.shape[2]}, {row_stride, 1}};
}

/// Floats of a cache line.
constexpr std::int64_t kLine = 16;

/// Tensors one after the other in one buffer; each starts on a cache line.
class Workspace {
 public:
  /// Adds room for [batch and tokens of `like`, features] and returns its offset.
  std::int64_t add(TensorView<const void, 3> like, std::int64_t features) {
    const std::int64_t begin = size_;
    std::int64_t count = 0;
    bool overflow = __builtin_mul_overflow(like.shape[0], like.shape[1], &count);
    overflow |= __builtin_mul_overflow(count, features, &count);
    overflow |= __builtin_add_overflow(count, kLine - 1, &count);
    overflow |= __builtin_add_overflow(size_, count / kLine * kLine, &size_);
    if (overflow) {
      throw Error(ErrorCode::out_of_memory, "workspace: no memory for " +
                                                counted(features, "feature") + " of " +
                                                counted(like.shape[0], "sequence") + " of " +
                                                counted(like.shape[1], "token"));
    }
    return begin;
  }

  /// The tensor that was added at `begin`, once all are added.
  TensorView<float, 3> at(std::int64_t begin, TensorView<const void, 3> like,
                          std::int64_t features) const {
    // One buffer is enough: while a thread waits in for_items() it starts no other forward().
    constinit thread_local core::PerThread<AlignedBuffer> buffer;
    return {buffer.get().reserve(size_) + begin, {like.shape[0], like.shape[1], features}};
  }

 private:
  std::int64_t size_ = 0;
};

}  // namespace

AttentionOptions with_configuration(const MultiHeadAttentionConfig& config,
                                    const MultiHeadAttentionWeights& weights,
                                    const AttentionOptions& options) {
  AttentionOptions all = options;
  if (!all.softmax_scale) all.softmax_scale = config.softmax_scale;
  if (config.qk_norm_epsilon) {
    if (options.qk_norm) fail("qk_norm: given, and the layer's configuration has one");
    all.qk_norm = QkNorm{.q_weight = weights.query_norm,
                         .epsilon = *config.qk_norm_epsilon,
                         .normalize_keys = false};
  }
  if (config.rope.cos.data != nullptr) {
    const RopeView& table = options.rope.table;
    if (table.cos.data != nullptr || table.sin.data != nullptr) {
      fail("rope.table: given, and the layer's configuration has one");
    }
    if (!options.rope.rotate_keys) {
      fail("rope: rotate_keys = false contradicts the layer's configuration, which rotates them");
    }
    all.rope.table = config.rope;
  }
  return all;
}

void project(const Linear& projection, TensorView<const void, 3> x, TensorView<void, 3> y) {
  if (rows_are_even(x) && rows_are_even(y)) {
    projection.forward(as_rows(x), as_rows(y));
    return;
  }
  for (std::int64_t b = 0; b < x.shape[0]; ++b) {
    projection.forward(as_rows(x.sliced(0, b, 1)), as_rows(y.sliced(0, b, 1)));
  }
}

void normalize_keys(const MultiHeadAttentionConfig& config, std::span<const float> weight,
                    TensorView<float, 3> k) {
  if (!config.qk_norm_epsilon) return;
  const TensorView<float, 4> heads = heads_of(k, config.num_kv_heads, config.head_dim);
  rms_norm(heads, heads, weight, *config.qk_norm_epsilon);
}

LayerTensors layer_tensors(const MultiHeadAttentionConfig& config, bool has_output,
                           TensorView<const void, 3> x, TensorView<const void, 3> context,
                           TensorView<void, 3> y) try {
  const ProjectedFeatures features = projected_features(config);
  Workspace workspace;
  const std::int64_t q = workspace.add(x, features.query);
  const std::int64_t k = workspace.add(context, features.key);
  const std::int64_t v = workspace.add(context, features.value);
  const std::int64_t z = has_output ? workspace.add(x, features.joined) : 0;
  return {.q = workspace.at(q, x, features.query),
          .k = workspace.at(k, context, features.key),
          .v = workspace.at(v, context, features.value),
          .z = has_output ? TensorView<void, 3>(workspace.at(z, x, features.joined)) : y};
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
