// attention() and Linear read and write inside their tensors only: each tensor ends at an
// inaccessible memory page.
#include "core/random.hpp"
#include "rapt/attention.hpp"
#include "rapt/linear.hpp"
#include "reference/scalar.hpp"
#include "support/guarded_buffer.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace rapt::test {
namespace {

using Floats = GuardedBuffer<float>;
using Bools = GuardedBuffer<bool>;

void fill_normal(const Floats& buffer, std::uint64_t seed) {
  Random random(seed);
  std::generate(buffer.begin(), buffer.end(), [&random] { return random.normal(); });
}

/// One problem of one head with each tensor in its own guarded buffer.
class GuardedAttention {
 public:
  GuardedAttention(const Shape& shape, Floats::At at)
      : shape_(shape),
        q_(count(shape.q_len, shape.head_dim), at),
        k_(count(shape.kv_len, shape.head_dim), at),
        v_(count(shape.kv_len, shape.value_dim), at),
        bias_(count(shape.q_len, shape.kv_len), at),
        mask_(count(shape.q_len, shape.kv_len),
              at == Floats::At::end ? Bools::At::end : Bools::At::start),
        out_(count(shape.q_len, shape.value_dim), at),
        lse_(count(shape.q_len, 1), at),
        weights_(count(shape.q_len, shape.kv_len), at) {
    std::uint64_t seed = 1;
    for (const Floats* buffer : {&q_, &k_, &v_, &bias_}) fill_normal(*buffer, seed++);
    Random random(seed);
    std::generate(mask_.begin(), mask_.end(), [&random] { return random.below(3) != 0; });
  }

  void run(AttentionFunction& function, bool element_masks) const {
    const auto [batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim] = shape_;
    AttentionOptions options;
    options.lse = {lse_.data(), {1, 1, q_len}};
    options.weights = {weights_.data(), {1, 1, q_len, kv_len}};
    if (element_masks) {
      options.bias = {bias_.data(), {1, 1, q_len, kv_len}};
      options.bool_mask = {{mask_.data(), {1, 1, q_len, kv_len}}, MaskMeaning::keep};
    }
    function(TensorView<float, 4>(q_.data(), {1, 1, q_len, head_dim}),
             TensorView<float, 4>(k_.data(), {1, 1, kv_len, head_dim}),
             TensorView<float, 4>(v_.data(), {1, 1, kv_len, value_dim}),
             {out_.data(), {1, 1, q_len, value_dim}}, options);
  }

  std::vector<float> results() const {
    std::vector<float> all(out_.begin(), out_.end());
    all.insert(all.end(), lse_.begin(), lse_.end());
    all.insert(all.end(), weights_.begin(), weights_.end());
    return all;
  }

 private:
  static std::size_t count(std::int64_t rows, std::int64_t columns) {
    return static_cast<std::size_t>(rows * columns);
  }

  Shape shape_;
  Floats q_, k_, v_, bias_;
  Bools mask_;
  Floats out_, lse_, weights_;
};

std::vector<std::int64_t> tail_lengths() {
  if (quick()) return {1, 17, 257};
  return {1, 2, 5, 15, 16, 17, 31, 33, 255, 257};
}

}  // namespace

TEST_CASE("attention stays inside every tensor for every tail shape") {
  for (const Floats::At at : {Floats::At::end, Floats::At::start}) {
    for (const std::int64_t kv_len : tail_lengths()) {
      for (const std::int64_t q_len : {1, 5, 13, 97}) {
        for (const std::int64_t dim : {1, 3, 8, 15, 17, 33}) {
          if (q_len == 97 && dim != 17) continue;
          Shape shape;
          shape.q_len = q_len;
          shape.kv_len = kv_len;
          shape.head_dim = dim;
          shape.value_dim = 34 - dim;
          const GuardedAttention problem(shape, at);
          for (const bool element_masks : {false, true}) {
            problem.run(reference::attention, element_masks);
            const std::vector<float> want = problem.results();
            for (const Isa isa : available_isas()) {
              const ForcedIsa forced(isa);
              problem.run(attention, element_masks);
              CHECK_MESSAGE(same_bits(problem.results(), want), isa_name(isa), ": q_len ", q_len,
                            " kv_len ", kv_len, " dim ", dim, " masks ", element_masks);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("decoding reads nothing outside its keys and values") {
  struct Dims {
    std::int64_t head, value;
  };
  const std::vector<std::int64_t> keys =
      quick() ? std::vector<std::int64_t>{16, 257, 2048}
              : std::vector<std::int64_t>{16, 17, 255, 256, 257, 264, 272, 2047, 2048, 2049, 2067};
  for (const Floats::At at : {Floats::At::end, Floats::At::start}) {
    for (const Dims dims : {Dims{16, 16}, Dims{64, 64}, Dims{128, 128}, Dims{128, 16},
                            Dims{16, 128}, Dims{192, 192}, Dims{256, 256}}) {
      for (const std::int64_t kv_len : keys) {
        // Rows of values are `apart` floats longer than necessary, except for the last one.
        for (const std::int64_t apart : {0, 16}) {
          const std::int64_t stride = dims.value + apart;
          const Floats k(static_cast<std::size_t>(kv_len * dims.head), at);
          const Floats v(static_cast<std::size_t>(kv_len * stride - apart), at);
          fill_normal(k, 1);
          fill_normal(v, 2);
          for (const std::int64_t rows : {1, 2, 4, 5, 8}) {
            if (quick() && rows != 4) continue;
            const std::vector<float> q =
                normal_floats(static_cast<std::size_t>(rows * dims.head), 3);
            for (const std::int64_t window : {kNoWindow, kv_len / 2}) {
              const auto outputs = [&](AttentionFunction& function) {
                std::vector<float> out(static_cast<std::size_t>(rows * dims.value));
                TensorView<const float, 4> values(v.data(), {1, 1, kv_len, dims.value});
                values.strides[2] = stride;
                function(TensorView<const float, 4>(q.data(), {1, rows, 1, dims.head}),
                         TensorView<const float, 4>(k.data(), {1, 1, kv_len, dims.head}), values,
                         {out.data(), {1, rows, 1, dims.value}},
                         {.mask = causal(kv_len - 1).windowed(window, 0)});
                return out;
              };
              const std::vector<float> want = outputs(reference::attention);
              for (const Isa isa : available_isas()) {
                const ForcedIsa forced(isa);
                CHECK_MESSAGE(same_bits(outputs(attention), want), isa_name(isa), ": ", rows,
                              " rows, kv_len ", kv_len, ", head_dim ", dims.head, ", value_dim ",
                              dims.value, ", window ", window, ", apart ", apart);
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE("keys beyond a sequence's length are never read") {
  constexpr std::int64_t kDim = 19;
  for (const std::int64_t keys : {1, 15, 16, 31, 33, 250, 256, 257}) {
    // The tensors claim 1000 keys; only `keys` of them are mapped.
    const auto existing = static_cast<std::size_t>(keys * kDim);
    const Floats k(existing, Floats::At::end);
    const Floats v(existing, Floats::At::end);
    fill_normal(k, 1);
    fill_normal(v, 2);
    const std::vector<float> q = normal_floats(3 * kDim, 3);
    const std::array<std::int64_t, 1> kv_lens{keys};
    const auto outputs = [&](AttentionFunction& function, const AttentionOptions& options) {
      std::vector<float> out(3 * kDim);
      function(TensorView<const float, 4>(q.data(), {1, 1, 3, kDim}),
               TensorView<float, 4>(k.data(), {1, 1, 1000, kDim}),
               TensorView<float, 4>(v.data(), {1, 1, 1000, kDim}), {out.data(), {1, 1, 3, kDim}},
               options);
      return out;
    };
    AttentionOptions by_length;
    by_length.kv_lens = kv_lens;
    const AttentionOptions by_mask{.mask = causal(keys - 3)};
    for (const AttentionOptions& options : {by_length, by_mask}) {
      const std::vector<float> want = outputs(reference::attention, options);
      for (const Isa isa : available_isas()) {
        CAPTURE(isa_name(isa));
        CAPTURE(keys);
        const ForcedIsa forced(isa);
        CHECK(same_bits(outputs(attention, options), want));
      }
    }
  }
}

TEST_CASE("keys outside every row's window are never read") {
  constexpr std::int64_t kDim = 19, kQueries = 3;
  for (const std::int64_t first : {1, 15, 250, 256, 300}) {
    for (const std::int64_t keys : {3, 16, 17, 257}) {
      // The tensors claim 1000 keys; only [first, first + keys) are mapped: the keys that the
      // queries from `first` + 1 on see with a window of one key to the left.
      const std::vector<float> q = normal_floats(kQueries * kDim, 3);
      const std::int64_t right = keys - kQueries - 1;
      Mask mask = causal(first + 1);
      if (right >= 0) mask.kind = Mask::Kind::none;
      mask = mask.windowed(1, right >= 0 ? right : kNoWindow);
      for (const Floats::At at : {Floats::At::start, Floats::At::end}) {
        const Floats k(static_cast<std::size_t>(keys * kDim), at);
        const Floats v(static_cast<std::size_t>(keys * kDim), at);
        fill_normal(k, 1);
        fill_normal(v, 2);
        const std::int64_t queries = right >= 0 ? kQueries : keys - 1;
        const auto outputs = [&](AttentionFunction& function) {
          std::vector<float> out(static_cast<std::size_t>(queries * kDim));
          function(TensorView<const float, 4>(q.data(), {1, 1, queries, kDim}),
                   TensorView<float, 4>(k.data() - first * kDim, {1, 1, 1000, kDim}),
                   TensorView<float, 4>(v.data() - first * kDim, {1, 1, 1000, kDim}),
                   {out.data(), {1, 1, queries, kDim}}, {.mask = mask});
          return out;
        };
        const std::vector<float> want = outputs(reference::attention);
        for (const Isa isa : available_isas()) {
          CAPTURE(isa_name(isa));
          CAPTURE(first);
          CAPTURE(keys);
          const ForcedIsa forced(isa);
          CHECK(same_bits(outputs(attention), want));
        }
      }
    }
  }
}

TEST_CASE("a linear layer stays inside its tensors for every tail shape") {
  for (const Floats::At at : {Floats::At::end, Floats::At::start}) {
    for (const std::int64_t rows : {1, 2, 7, 13}) {
      for (const std::int64_t in : {1, 7, 16, 33}) {
        for (const std::int64_t out : {1, 15, 17, 32, 33, 65}) {
          const Floats x(static_cast<std::size_t>(rows * in), at);
          const Floats weight(static_cast<std::size_t>(out * in), at);
          const Floats bias(static_cast<std::size_t>(out), at);
          const Floats y(static_cast<std::size_t>(rows * out), at);
          fill_normal(x, 1);
          fill_normal(weight, 2);
          fill_normal(bias, 3);
          const TensorView<float, 2> xv(x.data(), {rows, in});
          const TensorView<float, 2> wv(weight.data(), {out, in});
          const TensorView<float, 2> yv(y.data(), {rows, out});
          const std::span<const float> bias_span(bias.begin(), bias.end());
          reference::linear(xv, wv, bias_span, yv);
          const std::vector<float> want(y.begin(), y.end());
          const Linear layer(wv, bias_span);
          for (const Isa isa : available_isas()) {
            const ForcedIsa forced(isa);
            layer.forward(xv, yv);
            CHECK(same_bits({y.begin(), y.end()}, want));
          }
        }
      }
    }
  }
}

}  // namespace rapt::test
