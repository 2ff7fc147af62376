// Keys and values as tensors [batch, kv_heads, kv_len, dim]: a sequence for each batch index.
#pragma once

#include "attention/problem.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <span>

namespace rapt {

class TensorKeys final : public KeySource {
 public:
  TensorKeys(const TensorView<const void, 4>& k, const TensorView<const void, 4>& v)
      : k_(k), v_(v) {}

  void check(AttentionProblem& problem) const override;

 private:
  void check_kv_lens(std::span<const std::int64_t> kv_lens, std::int64_t batch) const;

  TensorView<const void, 4> k_, v_;
};

}  // namespace rapt
