// Prefill and decode: attention() on contiguous tensors, or over the pages of a KvCache.
#include "core/random.hpp"
#include "measure/element_buffer.hpp"
#include "measure/float_buffer.hpp"
#include "measure/machine.hpp"
#include "measure/work_inputs.hpp"
#include "measure/workload_plan.hpp"
#include "rapt/attention.hpp"
#include "rapt/kv_cache.hpp"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>
#include <vector>

namespace rapt::tools {
namespace {

/// Copies of the floats in memory of their own, in a type.
std::vector<ElementBuffer> copied(const FloatBuffer& floats, int copies, DType type) {
  std::vector<ElementBuffer> all;
  while (all.size() < static_cast<std::size_t>(copies)) {
    FloatBuffer next(floats.size());
    std::ranges::copy(floats.values(), next.data());
    all.emplace_back(std::move(next), type);
  }
  return all;
}

/// Sets the rows of a bias or mask for each of `heads` to value(query, key); all sequences get the
/// same.
template <class T, class Value>
void fill_rows(T* row, std::int64_t heads, const WorkShape& shape, const Value& value) {
  const std::int64_t rows = element_rows(shape);
  for (std::int64_t i = 0; i < heads * rows; ++i, row += shape.kv_len) {
    const std::int64_t query = i % rows;
    if (query >= shape.q_len) {
      std::copy_n(row - shape.q_len * shape.kv_len, shape.kv_len, row);
      continue;
    }
    for (std::int64_t j = 0; j < shape.kv_len; ++j) row[j] = value(query, j);
  }
}

/// Shared by contiguous and cached keys and values: queries, outputs, sizes.
class QueriesWork : public Workload {
 public:
  std::span<const float> output() const override { return out_.widened(floats_); }
  double flops() const override { return products_flops(shape_); }
  double bytes() const override {
    if (shape_.kind != WorkKind::decode) return kv_bytes_ + rest_bytes_ + element_bytes(shape_);
    const auto keys = static_cast<double>(shape_.kv_len);
    const bool windowed = shape_.window_left != kNoWindow;
    const double seen = windowed ? std::min(keys, 1.0 + double(shape_.window_left)) : keys;
    return kv_bytes_ / keys * seen + element_bytes(shape_);
  }
  int copies() const override { return copies_; }

 protected:
  QueriesWork(const WorkShape& shape, std::int64_t cache_bytes) : shape_(shape), options_(shape) {
    const std::int64_t width = shape.head_dim + shape.value_dim;
    const auto bytes = [](DType type) { return static_cast<double>(dtype_size(type)); };
    const double rows = product({shape.batch, shape.kv_heads, shape.kv_len});
    kv_bytes_ = bytes(kv_dtype()) * rows * product({width});
    if (kv_dtype() == DType::i8) kv_bytes_ += 8.0 * rows;  // scales
    rest_bytes_ = bytes(shape.dtype) * product({shape.batch, shape.heads, shape.q_len, width});
    copies_ = shape.cold ? copies_beyond(kv_bytes_, cache_bytes) : 1;
    require_memory(kv_bytes_ * copies_ + rest_bytes_, sentence(shape));
    const double queries = product({shape.batch, shape.heads, shape.q_len});
    q_ = {drawn(queries * product({shape.head_dim}), 1), shape.dtype};
    out_ = {drawn(queries * product({shape.value_dim}), 4), shape.dtype};
  }

  DType kv_dtype() const { return shape_.kv_dtype.value_or(shape_.dtype); }

  FloatBuffer drawn_keys() const {
    return drawn(product({shape_.batch, shape_.kv_heads, shape_.kv_len, shape_.head_dim}), 2);
  }
  FloatBuffer drawn_values() const {
    return drawn(product({shape_.batch, shape_.kv_heads, shape_.kv_len, shape_.value_dim}), 3);
  }

  /// The copy that is used next.
  std::size_t next_copy() { return std::exchange(next_, (next_ + 1) % std::size_t(copies_)); }

  WorkShape shape_;
  WorkOptions options_;
  ElementBuffer q_, out_;

 private:
  mutable FloatBuffer floats_;
  int copies_ = 1;
  std::size_t next_ = 0;
  double kv_bytes_ = 0, rest_bytes_ = 0;
};

class AttentionWork final : public QueriesWork {
 public:
  AttentionWork(const WorkShape& shape, std::int64_t cache_bytes)
      : QueriesWork(shape, cache_bytes),
        k_(copied(drawn_keys(), copies(), kv_dtype())),
        v_(copied(drawn_values(), copies(), kv_dtype())) {}

  void call() override {
    const WorkShape& s = shape_;
    const std::size_t copy = next_copy();
    attention(q_.view({s.batch, s.heads, s.q_len, s.head_dim}),
              k_[copy].view({s.batch, s.kv_heads, s.kv_len, s.head_dim}),
              v_[copy].view({s.batch, s.kv_heads, s.kv_len, s.value_dim}),
              out_.view({s.batch, s.heads, s.q_len, s.value_dim}), options_.get());
  }

 private:
  std::vector<ElementBuffer> k_, v_;
};

/// The same work with every sequence in a cache: queries are [batch * q_len, heads, head_dim].
class CachedWork final : public QueriesWork {
 public:
  CachedWork(const WorkShape& shape, std::int64_t cache_bytes) : QueriesWork(shape, cache_bytes) {
    const FloatBuffer k = drawn_keys(), v = drawn_values();
    for (int copy = 0; copy < copies(); ++copy) {
      caches_.emplace_back(KvCacheConfig{.kv_heads = shape.kv_heads,
                                         .head_dim = shape.head_dim,
                                         .value_dim = shape.value_dim,
                                         .dtype = kv_dtype()});
      for (std::int64_t b = 0; b < shape.batch; ++b) append_sequence(b, k, v);
    }
    for (std::int64_t b = 0; b <= shape.batch; ++b) rows_.push_back(b * shape.q_len);
  }

  void call() override {
    const std::int64_t rows = rows_.back();
    attention(q_.view({rows, shape_.heads, shape_.head_dim}), caches_[next_copy()],
              {sequences_, rows_}, out_.view({rows, shape_.heads, shape_.value_dim}),
              options_.get());
  }

 private:
  void append_sequence(std::int64_t b, const FloatBuffer& k, const FloatBuffer& v) {
    const WorkShape& s = shape_;
    const std::int64_t tokens = s.kv_heads * s.kv_len;
    const std::int64_t sequence = caches_.back().add();
    caches_.back().append(sequence,
                          TensorView<const float, 3>(k.data() + b * tokens * s.head_dim,
                                                     {s.kv_heads, s.kv_len, s.head_dim})
                              .swapped(0, 1),
                          TensorView<const float, 3>(v.data() + b * tokens * s.value_dim,
                                                     {s.kv_heads, s.kv_len, s.value_dim})
                              .swapped(0, 1));
    if (caches_.size() == 1) sequences_.push_back(sequence);  // every cache has the same numbers
  }

  std::vector<KvCache> caches_;
  std::vector<std::int64_t> sequences_, rows_;
};

}  // namespace

int copies_beyond(double bytes, std::int64_t cache_bytes) {
  const double most = std::min(double(std::int64_t{2} << 30), 0.25 * double(available_memory()));
  const double wanted = std::ceil(4.0 * static_cast<double>(cache_bytes) / std::max(bytes, 1.0));
  return static_cast<int>(std::clamp(std::min(wanted, most / std::max(bytes, 1.0)), 1.0, 65536.0));
}

WorkOptions::WorkOptions(const WorkShape& shape) {
  const bool windowed = shape.window_left != kNoWindow;
  if (shape.causal) options_.mask = causal_bottom_right();
  if (windowed || shape.alibi) options_.mask.align = Mask::Align::bottom_right;
  options_.mask.window_left = shape.window_left;
  if (shape.soft_cap > 0) options_.soft_cap = static_cast<float>(shape.soft_cap);
  for (std::int64_t h = 0; shape.alibi && h < shape.heads; ++h) {
    slopes_.push_back(std::exp2(-8.0f * float(h + 1) / float(shape.heads)));
  }
  options_.alibi_slopes = slopes_;
  if (shape.bias) add_bias(shape);
  if (shape.mask) add_mask(shape);
}

void WorkOptions::add_bias(const WorkShape& shape) {
  const std::int64_t rows = element_rows(shape);
  const double size = product({shape.heads, rows, shape.kv_len});
  require_memory(4.0 * size, sentence(shape));
  bias_ = FloatBuffer(static_cast<std::size_t>(size));
  Random random(14);
  fill_rows(bias_.data(), shape.heads, shape,
            [&](std::int64_t, std::int64_t) { return random.uniform(); });
  options_.bias = {bias_.data(), {1, shape.heads, rows, shape.kv_len}};
}

void WorkOptions::add_mask(const WorkShape& shape) {
  const std::int64_t rows = element_rows(shape);
  const double size = product({rows, shape.kv_len});
  require_memory(size, sentence(shape));
  mask_ = FloatBuffer(static_cast<std::size_t>(size / sizeof(float)) + 1);
  bool* const kept = new (mask_.data()) bool[static_cast<std::size_t>(size)];
  Random random(15);
  const std::int64_t offset = shape.kv_len - shape.q_len;
  // Every range mask includes the key at a query's own position: no row is empty.
  fill_rows(kept, 1, shape, [&](std::int64_t i, std::int64_t j) {
    return random.below(8) != 0 || j == std::max<std::int64_t>(0, i + offset);
  });
  options_.bool_mask = {{kept, {1, 1, rows, shape.kv_len}}, MaskMeaning::keep};
}

std::unique_ptr<Workload> make_attention_work(const WorkShape& shape, std::int64_t cache_bytes) {
  return std::make_unique<AttentionWork>(shape, cache_bytes);
}

std::unique_ptr<Workload> make_cached_work(const WorkShape& shape, std::int64_t cache_bytes) {
  return std::make_unique<CachedWork>(shape, cache_bytes);
}

}  // namespace rapt::tools
