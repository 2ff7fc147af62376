// The inputs and the timed call of each kind of work; those of attention are in attention_work.cpp.
#include "measure/workload.hpp"

#include "measure/element_buffer.hpp"
#include "measure/float_buffer.hpp"
#include "measure/machine.hpp"
#include "measure/work_inputs.hpp"
#include "measure/workload_plan.hpp"
#include "rapt/linear.hpp"
#include "rapt/multi_head_attention.hpp"

#include <cmath>
#include <vector>

namespace rapt::tools {
namespace {

template <class T>
std::vector<T> narrowed(const FloatBuffer& floats) {
  std::vector<T> elements;
  for (const float x : floats.values()) elements.push_back(T(x));
  return elements;
}

/// The floats as a weight [out, in] of a type.
Linear packed(const FloatBuffer& weight, std::int64_t out, std::int64_t in, DType type) {
  if (type == DType::bf16) return Linear({narrowed<bfloat16>(weight).data(), {out, in}});
  if (type == DType::f16) return Linear({narrowed<float16>(weight).data(), {out, in}});
  return Linear({weight.data(), {out, in}});
}

/// One call of Linear::forward().
class LinearWork final : public Workload {
 public:
  LinearWork(const WorkShape& shape, std::int64_t cache_bytes) : shape_(shape) {
    const double weights = product({shape.in_features, shape.out_features});
    weight_bytes_ = static_cast<double>(dtype_size(shape.weights)) * weights;
    const double rest = product({shape.rows}) * product({shape.in_features + shape.out_features});
    bytes_ = weight_bytes_ + static_cast<double>(dtype_size(shape.dtype)) * rest;
    const int copies = shape.cold ? copies_beyond(weight_bytes_, cache_bytes) : 1;
    require_memory(weight_bytes_ * (copies + 1) + 4.0 * (weights + rest), sentence(shape));
    const FloatBuffer weight = drawn(weights, 5);
    for (int copy = 0; copy < copies; ++copy) {
      layers_.push_back(packed(weight, shape.out_features, shape.in_features, shape.weights));
    }
    x_ = {drawn(product({shape.rows, shape.in_features}), 6), shape.dtype};
    y_ = {drawn(product({shape.rows, shape.out_features}), 7), shape.dtype};
  }

  void call() override {
    layers_[next_].forward(x_.view({shape_.rows, shape_.in_features}),
                           y_.view({shape_.rows, shape_.out_features}));
    next_ = (next_ + 1) % layers_.size();
  }

  std::span<const float> output() const override { return y_.widened(floats_); }
  double flops() const override {
    return 2.0 * product({shape_.rows, shape_.in_features, shape_.out_features});
  }
  double bytes() const override { return bytes_; }
  int copies() const override { return static_cast<int>(layers_.size()); }

 private:
  WorkShape shape_;
  std::vector<Linear> layers_;
  ElementBuffer x_, y_;
  mutable FloatBuffer floats_;
  std::size_t next_ = 0;
  double weight_bytes_ = 0, bytes_ = 0;
};

/// One call of MultiHeadAttention::forward(): four projections and the heads.
class LayerWork final : public Workload {
 public:
  explicit LayerWork(const WorkShape& shape) : shape_(shape), options_(shape) {
    const std::int64_t kv_dim = shape.kv_heads * shape.head_dim;
    const double weights = 2.0 * product({shape.model_dim}) * product({shape.model_dim + kv_dim});
    const double rows = product({shape.batch, shape.q_len});
    const double tokens = rows * product({shape.model_dim});
    require_memory(4.0 * (2.0 * weights + 8.0 * tokens), sentence(shape));
    const float factor = 1.0f / std::sqrt(static_cast<float>(shape.model_dim));
    const auto projection = [&](std::int64_t out, std::uint64_t seed) {
      const FloatBuffer weight = drawn(product({out, shape.model_dim}), seed, factor);
      return packed(weight, out, shape.model_dim, shape.weights);
    };
    layer_ = std::make_unique<MultiHeadAttention>(
        MultiHeadAttentionConfig{
            .model_dim = shape.model_dim, .num_heads = shape.heads, .num_kv_heads = shape.kv_heads},
        MultiHeadAttentionWeights{projection(shape.model_dim, 8), projection(kv_dim, 9),
                                  projection(kv_dim, 10), projection(shape.model_dim, 11)});
    x_ = {drawn(tokens, 12), shape.dtype};
    y_ = {drawn(tokens, 13), shape.dtype};
    flops_ = 2.0 * rows * weights + products_flops(shape);
    bytes_ = static_cast<double>(dtype_size(shape.weights)) * weights +
             2.0 * static_cast<double>(dtype_size(shape.dtype)) * tokens + element_bytes(shape);
  }

  void call() override {
    layer_->forward(x_.view({shape_.batch, shape_.q_len, shape_.model_dim}),
                    y_.view({shape_.batch, shape_.q_len, shape_.model_dim}), options_.get());
  }

  std::span<const float> output() const override { return y_.widened(floats_); }
  double flops() const override { return flops_; }
  double bytes() const override { return bytes_; }
  int copies() const override { return 1; }

 private:
  WorkShape shape_;
  WorkOptions options_;
  std::unique_ptr<MultiHeadAttention> layer_;
  ElementBuffer x_, y_;
  mutable FloatBuffer floats_;
  double flops_ = 0, bytes_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_workload(const WorkShape& shape, std::int64_t cache_bytes) {
  switch (shape.kind) {
    case WorkKind::linear:
      return std::make_unique<LinearWork>(shape, cache_bytes);
    case WorkKind::mha:
      return std::make_unique<LayerWork>(shape);
    default:
      return shape.paged ? make_cached_work(shape, cache_bytes)
                         : make_attention_work(shape, cache_bytes);
  }
}

}  // namespace rapt::tools
