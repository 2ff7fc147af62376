// The inputs and the one call of each kind of work.
#include "workload.hpp"

#include "float_buffer.hpp"
#include "machine.hpp"
#include "rapt/attention.hpp"
#include "rapt/linear.hpp"
#include "rapt/multi_head_attention.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace rapt::tools {
namespace {

double product(std::initializer_list<std::int64_t> extents) {
  double value = 1.0;
  for (const std::int64_t extent : extents) value *= static_cast<double>(extent);
  return value;
}

/// Copies of `bytes` that exceed the caches four times, within 2 GiB and a quarter of the memory.
int copies_beyond(double bytes, std::int64_t cache_bytes) {
  const double most = std::min(double(std::int64_t{2} << 30), 0.25 * double(available_memory()));
  const double wanted = std::ceil(4.0 * static_cast<double>(cache_bytes) / std::max(bytes, 1.0));
  return static_cast<int>(std::clamp(std::min(wanted, most / std::max(bytes, 1.0)), 1.0, 65536.0));
}

std::vector<FloatBuffer> copied(FloatBuffer first, int copies) {
  std::vector<FloatBuffer> all;
  all.push_back(std::move(first));
  while (all.size() < static_cast<std::size_t>(copies)) {
    FloatBuffer next(all.front().size());
    std::ranges::copy(all.front().values(), next.data());
    all.push_back(std::move(next));
  }
  return all;
}

/// Prefill and decode: one call of attention().
class AttentionWork final : public Workload {
 public:
  AttentionWork(const WorkShape& shape, std::int64_t cache_bytes) : shape_(shape) {
    const double queries = product({shape.batch, shape.heads, shape.q_len});
    const double keys = product({shape.batch, shape.kv_heads, shape.kv_len});
    const double kv = keys * product({shape.head_dim + shape.value_dim});
    const double rest = queries * product({shape.head_dim + shape.value_dim});
    kv_bytes_ = 4.0 * kv;
    rest_bytes_ = 4.0 * rest;
    const int copies = shape.cold ? copies_beyond(kv_bytes_, cache_bytes) : 1;
    require_memory(kv_bytes_ * copies + rest_bytes_, sentence(shape));
    q_ = drawn(queries * product({shape.head_dim}), 1);
    k_ = copied(drawn(keys * product({shape.head_dim}), 2), copies);
    v_ = copied(drawn(keys * product({shape.value_dim}), 3), copies);
    out_ = drawn(queries * product({shape.value_dim}), 4);
    if (shape.causal) options_.mask = causal_bottom_right();
  }

  void call() override {
    const WorkShape& s = shape_;
    attention(
        TensorView<const float, 4>(q_.data(), {s.batch, s.heads, s.q_len, s.head_dim}),
        TensorView<const float, 4>(k_[next_].data(), {s.batch, s.kv_heads, s.kv_len, s.head_dim}),
        TensorView<const float, 4>(v_[next_].data(), {s.batch, s.kv_heads, s.kv_len, s.value_dim}),
        TensorView<float, 4>(out_.data(), {s.batch, s.heads, s.q_len, s.value_dim}), options_);
    next_ = (next_ + 1) % k_.size();
  }

  std::span<const float> output() const override { return out_.values(); }

  double flops() const override {
    const double whole = 2.0 * product({shape_.batch, shape_.heads, shape_.q_len, shape_.kv_len,
                                        shape_.head_dim + shape_.value_dim});
    return shape_.causal ? 0.5 * whole : whole;
  }

  double bytes() const override {
    return shape_.kind == WorkKind::decode ? kv_bytes_ : kv_bytes_ + rest_bytes_;
  }

  int copies() const override { return static_cast<int>(k_.size()); }

 private:
  WorkShape shape_;
  AttentionOptions options_;
  FloatBuffer q_, out_;
  std::vector<FloatBuffer> k_, v_;
  std::size_t next_ = 0;
  double kv_bytes_ = 0, rest_bytes_ = 0;
};

/// One call of Linear::forward().
class LinearWork final : public Workload {
 public:
  LinearWork(const WorkShape& shape, std::int64_t cache_bytes) : shape_(shape) {
    weight_bytes_ = 4.0 * product({shape.in_features, shape.out_features});
    const double rest = product({shape.rows}) * product({shape.in_features + shape.out_features});
    bytes_ = weight_bytes_ + 4.0 * rest;
    const int copies = shape.cold ? copies_beyond(weight_bytes_, cache_bytes) : 1;
    require_memory(weight_bytes_ * (copies + 1) + 4.0 * rest, sentence(shape));
    const FloatBuffer weight = drawn(weight_bytes_ / 4.0, 5);
    for (int copy = 0; copy < copies; ++copy) {
      layers_.emplace_back(
          TensorView<const float, 2>(weight.data(), {shape.out_features, shape.in_features}));
    }
    x_ = drawn(product({shape.rows, shape.in_features}), 6);
    y_ = drawn(product({shape.rows, shape.out_features}), 7);
  }

  void call() override {
    layers_[next_].forward(TensorView<const float, 2>(x_.data(), {shape_.rows, shape_.in_features}),
                           TensorView<float, 2>(y_.data(), {shape_.rows, shape_.out_features}));
    next_ = (next_ + 1) % layers_.size();
  }

  std::span<const float> output() const override { return y_.values(); }
  double flops() const override {
    return 2.0 * product({shape_.rows, shape_.in_features, shape_.out_features});
  }
  double bytes() const override { return bytes_; }
  int copies() const override { return static_cast<int>(layers_.size()); }

 private:
  WorkShape shape_;
  std::vector<Linear> layers_;
  FloatBuffer x_, y_;
  std::size_t next_ = 0;
  double weight_bytes_ = 0, bytes_ = 0;
};

/// One call of MultiHeadAttention::forward(): four projections and the heads.
class LayerWork final : public Workload {
 public:
  explicit LayerWork(const WorkShape& shape) : shape_(shape) {
    const std::int64_t kv_dim = shape.kv_heads * shape.head_dim;
    const double weights = 2.0 * product({shape.model_dim}) * product({shape.model_dim + kv_dim});
    const double rows = product({shape.batch, shape.q_len});
    const double tokens = rows * product({shape.model_dim});
    require_memory(4.0 * (2.0 * weights + 8.0 * tokens), sentence(shape));
    const float factor = 1.0f / std::sqrt(static_cast<float>(shape.model_dim));
    const auto projection = [&](std::int64_t out, std::uint64_t seed) {
      const FloatBuffer weight = drawn(product({out, shape.model_dim}), seed, factor);
      return Linear(TensorView<const float, 2>(weight.data(), {out, shape.model_dim}));
    };
    layer_ = std::make_unique<MultiHeadAttention>(
        MultiHeadAttentionConfig{
            .model_dim = shape.model_dim, .num_heads = shape.heads, .num_kv_heads = shape.kv_heads},
        MultiHeadAttentionWeights{projection(shape.model_dim, 8), projection(kv_dim, 9),
                                  projection(kv_dim, 10), projection(shape.model_dim, 11)});
    x_ = drawn(tokens, 12);
    y_ = drawn(tokens, 13);
    if (shape.causal) options_.mask = causal();
    const double heads =
        4.0 * product({shape.batch, shape.heads, shape.q_len, shape.q_len, shape.head_dim});
    flops_ = 2.0 * rows * weights + (shape.causal ? 0.5 * heads : heads);
    bytes_ = 4.0 * (weights + 2.0 * tokens);
  }

  void call() override {
    layer_->forward(
        TensorView<const float, 3>(x_.data(), {shape_.batch, shape_.q_len, shape_.model_dim}),
        TensorView<float, 3>(y_.data(), {shape_.batch, shape_.q_len, shape_.model_dim}), options_);
  }

  std::span<const float> output() const override { return y_.values(); }
  double flops() const override { return flops_; }
  double bytes() const override { return bytes_; }
  int copies() const override { return 1; }

 private:
  WorkShape shape_;
  AttentionOptions options_;
  std::unique_ptr<MultiHeadAttention> layer_;
  FloatBuffer x_, y_;
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
      return std::make_unique<AttentionWork>(shape, cache_bytes);
  }
}

}  // namespace rapt::tools
