// Attention in its textbook form from the same kernels: all scores, then the whole softmax, then
// the weighted values, with all scores of a head in memory. The baseline of attention()
// (docs/performance.md).
#pragma once

#include "attention/pages.hpp"
#include "attention/plan.hpp"
#include "attention/sequences.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "measure/float_buffer.hpp"

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::benchmarks {

struct UnfusedShape {
  std::int64_t heads, q_len, kv_len, head_dim;
};

/// q, out: [heads, q_len, head_dim]; k, v: [heads, kv_len, head_dim]; dense. Each query sees every
/// key; the scale is 1 / sqrt(head_dim). Has the bits of attention(), because the order of the
/// arithmetic is the same.
class Unfused {
 public:
  Unfused(const UnfusedShape& shape, const kernels::KernelSet& kernels);

  /// On the calling thread.
  void call(const float* q, const float* k, const float* v, float* out);

 private:
  void check_and_plan(const float* q, const float* k, const float* v, float* out);
  void pack(const float* q, const float* k, const float* v);
  void all_scores();
  void all_weights();
  void all_values(float* out);

  static constexpr std::int64_t kMaxRows = 32;  // of a row tile
  struct State {
    std::array<float, kMaxRows> m, l{}, a{}, b{};
    State() { m.fill(-std::numeric_limits<float>::infinity()); }
  };
  void fold(State& state, const float* block_m, const float* block_l, std::int64_t rows) const;

  std::int64_t row_tile_scores() const { return set_.tiles.rows * kernels::kKeyBlock; }
  std::int64_t rows_at(std::int64_t row) const;
  std::int64_t keys_at(std::int64_t block) const;
  float* scores_of(std::int64_t row, std::int64_t block);

  UnfusedShape shape_;
  const kernels::KernelSet& set_;
  std::int64_t blocks_, row_tiles_, q_tile_, columns_;
  tools::FloatBuffer q_, k_, v_, scores_, m_, l_, o_;
  std::vector<State> states_;
  const float* values_ = nullptr;  // of the head, in rows of columns_
  Sequences sequences_;
  PageAddresses addresses_;
  Plan plan_;
};

}  // namespace rapt::benchmarks
