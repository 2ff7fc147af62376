// attention() stays inside the states, weight sums, weights and lse of every tail shape: each
// tensor ends at an inaccessible memory page.
#include "rapt/attention.hpp"
#include "reference/scalar.hpp"
#include "support/arena.hpp"
#include "support/guarded_floats.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace rapt::test {
namespace {

/// Grouped heads, with every tensor of a call in its own guarded buffer.
class GuardedCall {
 public:
  GuardedCall(const Shape& shape, GuardedFloats::At at)
      : shape_(shape),
        q_(count_of(rows(), shape.head_dim), at),
        k_(count_of(keys(), shape.head_dim), at),
        v_(count_of(keys(), shape.value_dim), at),
        m_in_(count_of(rows(), 1), at),
        l_in_(count_of(rows(), 1), at),
        o_in_(count_of(rows(), shape.value_dim), at),
        out_(count_of(rows(), shape.value_dim), at),
        lse_(count_of(rows(), 1), at),
        weights_(count_of(rows(), shape.kv_len), at),
        head_sums_(count_of(shape.heads, shape.kv_len), at),
        group_sums_(count_of(shape.kv_heads, shape.kv_len), at),
        m_(count_of(rows(), 1), at),
        l_(count_of(rows(), 1), at),
        o_(count_of(rows(), shape.value_dim), at) {
    std::uint64_t seed = 1;
    for (const GuardedFloats* buffer : {&q_, &k_, &v_, &m_in_, &l_in_, &o_in_}) {
      fill_normal(*buffer, seed++);
    }
    for (float& l : l_in_) l = std::abs(l) + 0.5f;
  }

  /// Every output of one call.
  std::vector<float> run(AttentionFunction& function, WeightSums sums) const {
    const auto [batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim] = shape_;
    AttentionOptions options;
    options.lse = {lse_.data(), {1, heads, q_len}};
    options.weights = {weights_.data(), {1, heads, q_len, kv_len}};
    if (sums == WeightSums::per_head) {
      options.weight_sums = {head_sums_.data(), {1, heads, kv_len}};
    } else {
      options.weight_sums = {group_sums_.data(), {1, kv_heads, kv_len}};
    }
    options.state_in = AttentionState<const float>({m_in_.data(), {1, heads, q_len}},
                                                   {l_in_.data(), {1, heads, q_len}},
                                                   {o_in_.data(), {1, heads, q_len, value_dim}});
    options.state_out =
        AttentionState<float>({m_.data(), {1, heads, q_len}}, {l_.data(), {1, heads, q_len}},
                              {o_.data(), {1, heads, q_len, value_dim}});
    function(TensorView<const float, 4>(q_.data(), {1, heads, q_len, head_dim}),
             TensorView<const float, 4>(k_.data(), {1, kv_heads, kv_len, head_dim}),
             TensorView<const float, 4>(v_.data(), {1, kv_heads, kv_len, value_dim}),
             {out_.data(), {1, heads, q_len, value_dim}}, options);
    return joined({&out_, &lse_, &weights_, &head_sums_, &group_sums_, &m_, &l_, &o_});
  }

 private:
  std::int64_t rows() const { return shape_.heads * shape_.q_len; }
  std::int64_t keys() const { return shape_.kv_heads * shape_.kv_len; }

  Shape shape_;
  GuardedFloats q_, k_, v_, m_in_, l_in_, o_in_;
  GuardedFloats out_, lse_, weights_, head_sums_, group_sums_, m_, l_, o_;
};

std::vector<std::int64_t> key_counts() {
  if (quick()) return {1, 17, 300};
  return {1, 15, 16, 17, 31, 33, 255, 257, 600};
}

}  // namespace

TEST_CASE("attention stays inside states, weight sums and weights for every tail shape") {
  for (const GuardedFloats::At at : {GuardedFloats::At::end, GuardedFloats::At::start}) {
    for (const std::int64_t kv_len : key_counts()) {
      for (const std::int64_t q_len : {1, 3, 13, 35}) {
        for (const std::int64_t dim : {1, 7, 16, 17, 33}) {
          const Shape shape{.heads = 2,
                            .kv_heads = 1,
                            .q_len = q_len,
                            .kv_len = kv_len,
                            .head_dim = dim,
                            .value_dim = 34 - dim};
          const GuardedCall call(shape, at);
          for (const WeightSums sums : {WeightSums::per_head, WeightSums::per_kv_head}) {
            const std::vector<float> want = call.run(reference::attention, sums);
            for (const Isa isa : available_isas()) {
              const ForcedIsa forced(isa);
              for (const int threads : {1, 2}) {
                in_arena(threads, [&] {
                  CHECK_MESSAGE(same_bits(call.run(attention, sums), want), isa_name(isa),
                                ": q_len ", q_len, " kv_len ", kv_len, " dim ", dim);
                });
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace rapt::test
